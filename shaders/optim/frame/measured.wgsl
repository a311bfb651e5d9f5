// The two values of each element whose norms make the tensor's ratio.
struct Measured { first: vec4f, second: vec4f }

// Bits of 2^96: gradients that are held to it have norms, and ratios to these, that are normal numbers.
const NORMABLE = 0x6f800000u;
