//! A network's tensors, as an optimizer sees them.

/// The shapes of ResNet-18's 62 tensors, 11,689,512 parameters.
pub(crate) fn resnet18() -> Vec<Vec<usize>> {
    let mut shapes = vec![vec![64, 3, 7, 7], vec![64], vec![64]];
    let mut conv = |out: usize, channels: usize, kernel: usize| {
        shapes.extend([vec![out, channels, kernel, kernel], vec![out], vec![out]]);
    };
    for (stage, width) in [64, 128, 256, 512].into_iter().enumerate() {
        let below = if stage == 0 { 64 } else { width / 2 };
        conv(width, below, 3);
        conv(width, width, 3);
        if stage > 0 {
            conv(width, below, 1);
        }
        conv(width, width, 3);
        conv(width, width, 3);
    }
    shapes.extend([vec![1000, 512], vec![1000]]);
    shapes
}
