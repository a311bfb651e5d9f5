//! TensorFlow's `Event` message in protobuf's encoding, as far as it is needed.

use super::histogram::Histogram;

/// An event: a time, a step, and values by tag.
pub(super) struct Event {
    head: Vec<u8>,
    summary: Vec<u8>,
    version: bool,
}

/// What follows a field's number.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
    Fixed32 = 5,
}

fn varint(mut value: u64, to: &mut Vec<u8>) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            to.push(low);
            return;
        }
        to.push(low | 0x80);
    }
}

fn key(field: u64, wire: Wire, to: &mut Vec<u8>) {
    varint(field << 3 | wire as u64, to);
}

fn double(field: u64, value: f64, to: &mut Vec<u8>) {
    key(field, Wire::Fixed64, to);
    to.extend(value.to_le_bytes());
}

fn bytes(field: u64, value: &[u8], to: &mut Vec<u8>) {
    key(field, Wire::Bytes, to);
    varint(value.len() as u64, to);
    to.extend(value);
}

impl Event {
    /// Without values.
    pub(super) fn at(step: u64, wall_time: f64) -> Self {
        let mut head = Vec::new();
        double(1, wall_time, &mut head);
        key(2, Wire::Varint, &mut head);
        varint(step, &mut head);
        Self { head, summary: Vec::new(), version: false }
    }

    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.summary.is_empty() && !self.version
    }

    /// Makes it the first event of a file.
    pub(super) fn file_version(&mut self) {
        self.version = true;
        bytes(3, b"brain.Event:2", &mut self.head);
    }

    /// A value of the format's precision.
    #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest f32")]
    pub(super) fn scalar(&mut self, tag: &str, value: f64) {
        let mut message = Vec::new();
        bytes(1, tag.as_bytes(), &mut message);
        key(2, Wire::Fixed32, &mut message);
        message.extend((value as f32).to_le_bytes());
        bytes(1, &message, &mut self.summary);
    }

    pub(super) fn histogram(&mut self, tag: &str, histogram: &Histogram) {
        let Histogram { min, max, count, sum, sum_squares, buckets } = histogram;
        let mut histo = Vec::new();
        for (field, value) in (1..).zip([*min, *max, *count as f64, *sum, *sum_squares]) {
            double(field, value, &mut histo);
        }
        let packed = |values: Vec<f64>| values.into_iter().flat_map(f64::to_le_bytes).collect::<Vec<u8>>();
        bytes(6, &packed(buckets.iter().map(|(limit, _)| *limit).collect()), &mut histo);
        bytes(7, &packed(buckets.iter().map(|(_, count)| *count as f64).collect()), &mut histo);
        let mut message = Vec::new();
        bytes(1, tag.as_bytes(), &mut message);
        bytes(5, &histo, &mut message);
        bytes(1, &message, &mut self.summary);
    }

    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        if !self.summary.is_empty() {
            bytes(5, &self.summary, &mut self.head);
        }
        self.head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_are_varints() {
        let of = |value| {
            let mut bytes = Vec::new();
            varint(value, &mut bytes);
            bytes
        };
        assert_eq!((of(0), of(127), of(128), of(300)), (vec![0], vec![127], vec![0x80, 1], vec![0xac, 2]));
        assert_eq!(of(u64::MAX).len(), 10);
    }

    #[test]
    fn an_event_has_the_bytes_of_its_message() {
        let mut event = Event::at(300, 1.0);
        assert!(event.is_empty());
        event.scalar("a", 0.5);
        let bytes = [
            &[0x09][..],
            &1.0_f64.to_le_bytes(),
            &[0x10, 0xac, 2],
            // The summary, its first value, the tag and the number.
            &[0x2a, 10, 0x0a, 8, 0x0a, 1, b'a', 0x15],
            &0.5_f32.to_le_bytes(),
        ];
        assert_eq!(event.into_bytes(), bytes.concat());
    }
}
