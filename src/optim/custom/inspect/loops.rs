//! Checks that the loops of a rule end, and early enough.

use std::collections::BTreeMap;

use crate::wgsl::{Declared, Kind, Refusal, Token, closing, number};

/// The permitted form of loops.
pub(crate) const LOOP: &str =
    "`for (var i = 0; i < 8; i++)`, with numbers or constants that are numbers as bounds";

/// Maximum work of a call of `rule`, in words and marks of the text, counted each time they run in loops. A device that
/// is busy for seconds is taken to hang.
const MOST_WORK: u64 = 1 << 16;

/// Counts the work of a text.
pub(crate) struct Work<'a> {
    pub(crate) tokens: &'a [Token<'a>],
    pub(crate) declared: &'a [Declared<'a>],
    /// Work of the functions counted so far; `None` while one is being counted.
    pub(crate) known: BTreeMap<&'a str, Option<u64>>,
}

/// A loop that is known to end.
struct Counted {
    variable: usize,
    rounds: u64,
}

impl<'a> Work<'a> {
    /// Refuses loops in any function that may not end, and a rule with too much work.
    pub(crate) fn check(&mut self) -> Result<(), Refusal> {
        for own in self.declared.iter().filter(|own| own.kind == "fn") {
            let work = self.of(own)?;
            if own.name.text == "rule" && work > MOST_WORK {
                let reason = format!(
                    "`rule` takes too long: loops and calls make {work} words and marks of it, expected at most \
                     {MOST_WORK}"
                );
                return Err((own.name.at, reason));
            }
        }
        Ok(())
    }

    fn of(&mut self, own: &Declared<'a>) -> Result<u64, Refusal> {
        if let Some(known) = self.known.get(own.name.text) {
            // The parser has refused recursive functions.
            return Ok(known.unwrap_or_default());
        }
        self.known.insert(own.name.text, None);
        let mut total = 0_u64;
        // Ends of the enclosing loops, and how often their bodies run.
        let mut loops: Vec<(usize, u64)> = Vec::new();
        for index in own.tokens.clone() {
            let token = &self.tokens[index];
            while loops.last().is_some_and(|(end, _)| index >= *end) {
                loops.pop();
            }
            let times = loops.last().map_or(1, |(_, times)| *times);
            if token.text == "for" {
                let close = closing(self.tokens, index + 1);
                let counted = self.counted(index, close)?;
                let end = closing(self.tokens, close + 1);
                self.check_kept(counted.variable, close + 1..end)?;
                let times = times.saturating_mul(counted.rounds.max(1));
                if times > MOST_WORK {
                    let reason = format!("this loop runs {times} rounds, expected at most {MOST_WORK}");
                    return Err((token.at, reason));
                }
                loops.push((end, times));
            }
            let called = self.declared.iter().find(|other| {
                other.kind == "fn" && other.name.text == token.text && index != own.tokens.start + 1
            });
            let work = called.map_or(Ok(0), |called| self.of(called))?;
            total = total.saturating_add(times.saturating_mul(1 + work));
        }
        self.known.insert(own.name.text, Some(total));
        Ok(total)
    }

    /// The loop whose `for` is at `at` and whose header ends at `close`.
    fn counted(&self, at: usize, close: usize) -> Result<Counted, Refusal> {
        let refuse =
            |why: &str| Err((self.tokens[at].at, format!("this loop may never end{why}: expected {LOOP}")));
        let header = &self.tokens[at + 2..close];
        let parts: Vec<&[Token<'_>]> = header.split(|token| token.text == ";").collect();
        let [first, condition, update] = parts[..] else { return refuse("") };
        let first_texts: Vec<&str> = first.iter().map(|token| token.text).collect();
        let (kind, from) = match first_texts[..] {
            ["var", _, "=", ..] => (None, 3),
            ["var", _, ":", kind @ ("i32" | "u32"), "=", ..] => (Some(kind == "u32"), 5),
            _ => return refuse(""),
        };
        let name = first[1].text;
        let condition_texts: Vec<&str> = condition.iter().map(|token| token.text).collect();
        let (up, inclusive, bound) = match condition_texts[..] {
            [of, "<", ..] if of == name => (true, 0, 2),
            [of, "<=", ..] if of == name => (true, 1, 2),
            [of, ">", "=", ..] if of == name => (false, 1, 3),
            [of, ">", ..] if of == name => (false, 0, 2),
            _ => return refuse(""),
        };
        let one = (1, None);
        let step = match update {
            [of, by] if of.text == name && by.text == "++" => Some((true, one)),
            [of, by] if of.text == name && by.text == "--" => Some((false, one)),
            [of, by, step] if of.text == name && matches!(by.text, "+=" | "-=") => {
                self.value(&[*step]).map(|step| (by.text == "+=", step))
            }
            _ => None,
        };
        let (Some(first_value), Some(bound), Some((rises, step))) =
            (self.value(&first[from..]), self.value(&condition[bound..]), step)
        else {
            return refuse("");
        };
        if step.0 < 1 || rises != up {
            return refuse(&format!(", because `{name}` does not go towards the bound"));
        }
        let unsigned = kind.unwrap_or([first_value.1, bound.1, step.1].contains(&Some(true)));
        let (least, most) =
            if unsigned { (0, i64::from(u32::MAX)) } else { (i64::from(i32::MIN), i64::from(i32::MAX)) };
        let way = if up { bound.0 - first_value.0 } else { first_value.0 - bound.0 } + inclusive;
        let rounds = way.max(0).unsigned_abs().div_ceil(step.0.unsigned_abs());
        let walked = i64::try_from(rounds).unwrap_or(i64::MAX).saturating_mul(step.0);
        let last =
            if up { first_value.0.saturating_add(walked) } else { first_value.0.saturating_sub(walked) };
        if !(least..=most).contains(&last) {
            return refuse(&format!(", because `{name}` begins anew at the other end"));
        }
        Ok(Counted { variable: at + 3, rounds })
    }

    fn value(&self, tokens: &[Token<'_>]) -> Option<(i64, Option<bool>)> {
        match tokens {
            [value] => number(value, self.tokens, self.declared),
            [minus, value] if minus.text == "-" => {
                let (value, unsigned) = number(value, self.tokens, self.declared)?;
                Some((-value, unsigned))
            }
            _ => None,
        }
    }

    /// Refuses a loop whose body changes its variable or takes a pointer to it.
    fn check_kept(&self, variable: usize, body: std::ops::Range<usize>) -> Result<(), Refusal> {
        let name = self.tokens[variable].text;
        let text = |index: usize| self.tokens.get(index).map_or("", |token| token.text);
        for index in body.clone().filter(|index| text(*index) == name && text(index - 1) != ".") {
            let (mut before, mut after) = (index - 1, index + 1);
            while text(before) == "(" {
                before -= 1;
            }
            while text(after) == ")" {
                after += 1;
            }
            let next = text(after);
            let assigns = next == "="
                || matches!(next, "++" | "--" | ":")
                || (next.len() == 2 && next.ends_with('=') && !matches!(next, "==" | "!=" | "<="))
                || (next == "<<" && text(after + 1) == "=")
                || (next == ">" && text(after + 1) == ">" && text(after + 2) == "=");
            let is_operand = |token: &Token<'_>| token.kind != Kind::Mark || matches!(token.text, ")" | "]");
            let points = text(before) == "&" && !is_operand(&self.tokens[before - 1]);
            if assigns || points {
                let reason = format!(
                    "this loop may never end: its variable `{name}` is changed, named again or pointed to"
                );
                return Err((self.tokens[index].at, reason));
            }
        }
        Ok(())
    }
}
