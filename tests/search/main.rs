//! Searches beside those of other libraries.

mod population;
