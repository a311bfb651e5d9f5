//! Checks that the loops of a user's function end, and early enough.

use std::collections::BTreeMap;

use super::{Declared, Kind, Refusal, Token, closing, number};

/// The permitted form of loops.
pub(crate) const LOOP: &str =
    "`for (var i = 0; i < 8; i++)`, with numbers or constants that are numbers as bounds";

/// Counts the work of a text.
pub(crate) struct Work<'a> {
    pub(crate) tokens: &'a [Token<'a>],
    pub(crate) declared: &'a [Declared<'a>],
    /// Name of the function that the surrounding kernel calls.
    pub(crate) entry: &'a str,
    /// Maximum work of a call of `entry`, in words and marks of the text, counted each time they run in loops. A device
    /// that is busy for seconds is taken to hang.
    pub(crate) most_work: u64,
    /// Maximum number of iterations of all its loops together.
    pub(crate) most_rounds: u64,
    /// `u32` constants of the surrounding kernel that may be bounds or steps, and their values.
    pub(crate) given: &'a [(&'a str, i64)],
    /// A `u32` argument of the entry at which loops may begin; none of its text's own has that name.
    pub(crate) start: Option<&'a str>,
    /// Work of the functions counted so far; `None` while one is being counted.
    pub(crate) known: BTreeMap<&'a str, Option<Counts>>,
}

/// Work of a call of a function.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Words and marks.
    work: u64,
    /// Iterations of loops.
    rounds: u64,
}

/// A loop that is known to end.
struct Counted {
    variable: usize,
    rounds: u64,
}

impl<'a> Work<'a> {
    /// Refuses loops in any function that may not end, and an entry with too much work.
    pub(crate) fn check(&mut self) -> Result<(), Refusal> {
        for own in self.declared.iter().filter(|own| own.kind == "fn") {
            let Counts { work, rounds } = self.of(own)?;
            if own.name.text == self.entry && work > self.most_work {
                let (entry, most) = (self.entry, self.most_work);
                let reason = format!(
                    "`{entry}` takes too long: loops and calls make {work} words and marks of it, expected at most \
                     {most}"
                );
                return Err((own.name.at, reason));
            }
            if own.name.text == self.entry && rounds > self.most_rounds {
                let (entry, most) = (self.entry, self.most_rounds);
                let reason = format!("the loops of `{entry}` make {rounds} rounds, expected at most {most}");
                return Err((own.name.at, reason));
            }
        }
        Ok(())
    }

    fn of(&mut self, own: &Declared<'a>) -> Result<Counts, Refusal> {
        if let Some(known) = self.known.get(own.name.text) {
            // The parser has refused recursive functions.
            return Ok(known.unwrap_or_default());
        }
        self.known.insert(own.name.text, None);
        let mut total = Counts::default();
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
                if times > self.most_rounds {
                    let most = self.most_rounds;
                    let reason = format!("this loop runs {times} rounds, expected at most {most}");
                    return Err((token.at, reason));
                }
                total.rounds = total.rounds.saturating_add(times);
                loops.push((end, times));
            }
            let called = self.declared.iter().find(|other| {
                other.kind == "fn" && other.name.text == token.text && index != own.tokens.start + 1
            });
            let inner = called.map_or(Ok(Counts::default()), |called| self.of(called))?;
            total.work = total.work.saturating_add(times.saturating_mul(inner.work.saturating_add(1)));
            total.rounds = total.rounds.saturating_add(times.saturating_mul(inner.rounds));
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
            (self.first_value(&first[from..]), self.value(&condition[bound..]), step)
        else {
            return refuse("");
        };
        if step.0 < 1 || rises != up {
            return refuse(&format!(", because `{name}` does not go towards the bound"));
        }
        // An argument may be any number: a loop down from it has no known number of rounds.
        let is_argument = self.is_start(&first[from..]);
        if is_argument && !up {
            return refuse("");
        }
        let unsigned = kind.unwrap_or([first_value.1, bound.1, step.1].contains(&Some(true)));
        let (least, most) =
            if unsigned { (0, i64::from(u32::MAX)) } else { (i64::from(i32::MIN), i64::from(i32::MAX)) };
        let way = if up { bound.0 - first_value.0 } else { first_value.0 - bound.0 } + inclusive;
        let rounds = way.max(0).unsigned_abs().div_ceil(step.0.unsigned_abs());
        let walked = i64::try_from(rounds).unwrap_or(i64::MAX).saturating_mul(step.0);
        let last =
            if up { first_value.0.saturating_add(walked) } else { first_value.0.saturating_sub(walked) };
        // From another number it may end up to a step behind the bound.
        let last =
            if is_argument { last.max((bound.0 + inclusive - 1).saturating_add(step.0)) } else { last };
        if !(least..=most).contains(&last) {
            return refuse(&format!(", because `{name}` begins anew at the other end"));
        }
        Ok(Counted { variable: at + 3, rounds })
    }

    /// Where a loop begins, which is 0 for an argument: upwards, none goes round more often than from there.
    fn first_value(&self, tokens: &[Token<'_>]) -> Option<(i64, Option<bool>)> {
        if self.is_start(tokens) { Some((0, Some(true))) } else { self.value(tokens) }
    }

    /// Whether a loop begins at the argument of the entry.
    fn is_start(&self, tokens: &[Token<'_>]) -> bool {
        matches!(tokens, [value] if self.start.is_some_and(|start| start == value.text))
    }

    fn value(&self, tokens: &[Token<'_>]) -> Option<(i64, Option<bool>)> {
        match tokens {
            [value] if self.given(value).is_some() => self.given(value).map(|value| (value, Some(true))),
            [given, sign, by] if self.given(given).is_some() => {
                let (value, by) = (self.given(given)?, number(by, self.tokens, self.declared)?.0);
                let result = match sign.text {
                    "-" => value.checked_sub(by)?,
                    "+" => value.checked_add(by)?,
                    "*" => value.checked_mul(by)?,
                    "/" => value.checked_div(by)?,
                    _ => return None,
                };
                (result >= 0).then_some((result, Some(true)))
            }
            [value] => number(value, self.tokens, self.declared),
            [minus, value] if minus.text == "-" => {
                let (value, unsigned) = number(value, self.tokens, self.declared)?;
                Some((-value, unsigned))
            }
            _ => None,
        }
    }

    fn given(&self, token: &Token<'_>) -> Option<i64> {
        self.given.iter().find(|(name, _)| *name == token.text).map(|(_, value)| *value)
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
