//! Texts as sequences of character indices.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

const GENESIS: &str = include_str!("text.txt");

/// The characters that a model knows, ordered by index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Vocabulary {
    characters: String,
}

impl Vocabulary {
    fn of(text: &str) -> Self {
        let kinds: std::collections::BTreeSet<char> = text.chars().collect();
        Self { characters: kinds.into_iter().collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.characters.chars().count()
    }

    /// The indices of the characters of a text.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let kinds: std::collections::HashMap<char, u32> = self.characters.chars().zip(0..).collect();
        let allowed = || match self.len() {
            len @ 201.. => format!("{len} characters"),
            _ => format!("{:?}", self.characters),
        };
        let number = |(place, character)| {
            let number = kinds.get(&character).copied();
            let unknown =
                || format!("character {place}, {character:?}, must be one of the model's {}", allowed());
            number.with_context(unknown)
        };
        (1..).zip(text.chars()).map(number).collect()
    }

    pub(crate) fn character(&self, number: usize) -> Option<char> {
        self.characters.chars().nth(number)
    }

    /// A line break, if the vocabulary has one, so that generated text starts a line.
    pub(crate) fn beginning(&self) -> Option<char> {
        self.characters.chars().find(|character| *character == '\n').or(self.character(0))
    }
}

/// The text that a model was trained on. Stored in the model's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Source {
    pub(crate) vocabulary: Vocabulary,
    characters: usize,
    /// CRC-32, to identify it.
    checksum: u32,
}

impl Source {
    /// Why a run that was started with another text cannot be resumed with this one; `None` if it can.
    pub(crate) fn difference(&self, saved: &Self) -> Option<String> {
        let of =
            |source: &Self| format!("{} characters, checksum {:08x}", source.characters, source.checksum);
        (self != saved)
            .then(|| format!("its text is another than that of --text: {}, not {}", of(saved), of(self)))
    }
}

pub(crate) struct Text {
    pub(crate) source: Source,
    /// The whole text; the held-out part is at the end.
    pub(crate) tokens: Vec<u32>,
    cut: usize,
}

impl Text {
    /// The text of a file, or Genesis. It must be long enough for contexts of `context` characters.
    pub(crate) fn read(path: Option<&Path>, context: usize) -> Result<Self> {
        match path {
            Some(path) => {
                let name = || format!("--text {}", path.display());
                let bytes = std::fs::read(path).with_context(name)?;
                let text = String::from_utf8(bytes);
                let text = text.map_err(|e| e.utf8_error()).context("must be UTF-8").with_context(name)?;
                Self::new(&text, context).with_context(name)
            }
            None => Self::new(GENESIS, context),
        }
    }

    fn new(text: &str, context: usize) -> Result<Self> {
        if text.is_empty() {
            bail!("must not be empty");
        }
        let vocabulary = Vocabulary::of(text);
        let tokens = vocabulary.encode(text)?;
        let characters = tokens.len();
        let cut = characters - characters / 10;
        let least = (context + 2).max(10);
        ensure!(
            cut > context + 1 && cut < characters,
            "must have more than {least} characters for contexts of {context}, of which a tenth is held out, got {characters}"
        );
        let source = Source { vocabulary, characters, checksum: crc32fast::hash(text.as_bytes()) };
        Ok(Self { source, tokens, cut })
    }

    pub(crate) fn train(&self) -> &[u32] {
        &self.tokens[..self.cut]
    }

    /// Number of held-out characters.
    pub(crate) fn held_out(&self) -> usize {
        self.tokens.len() - self.cut
    }

    pub(crate) fn is_genesis(&self) -> bool {
        self.source.checksum == crc32fast::hash(GENESIS.as_bytes())
    }
}
