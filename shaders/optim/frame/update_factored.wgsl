// Workgroups by tensors: the first vector of four in the window, how many, and the tensor's first view.
struct Piece { first: u32, len: u32, view: u32 }

@group(0) @binding(5) var<storage, read> views: array<View>;
@group(0) @binding(6) var<storage, read> values: array<f32>;
@group(0) @binding(7) var<storage, read> pieces: array<Piece>;

fn place(number: u32, lane: u32) -> u32 {
    let piece = pieces[call.first + number];
    begin(piece.view);
    return select(NOWHERE, piece.first + lane, number < call.len && lane < piece.len);
}
