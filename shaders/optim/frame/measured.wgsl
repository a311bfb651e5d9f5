// Two values for each element, of which a tensor's ratio takes the sums.
struct Measured { first: vec4f, second: vec4f }
