/// The names in a header, in the memory of its text.
#[derive(Debug, Default)]
pub(super) struct Names {
    text: String,
    ends: Vec<u32>,
}

impl Names {
    pub(super) fn push(&mut self, name: &str) {
        self.text += name;
        // 65,536 names of at most 4,096 bytes fit.
        self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }

    pub(super) fn get(&self, column: usize) -> Option<&str> {
        let from = if column == 0 { 0 } else { *self.ends.get(column - 1)? };
        self.text.get(from as usize..*self.ends.get(column)? as usize)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).filter_map(|column| self.get(column))
    }
}
