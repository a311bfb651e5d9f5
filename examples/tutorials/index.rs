//! The page that shows all pictures.

use std::fmt::Write;

/// A picture of this program, `name`.svg.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What the picture shows.
    pub(crate) shows: String,
}

/// An exercise or a picture that another program makes.
pub(crate) struct Elsewhere {
    pub(crate) title: &'static str,
    pub(crate) command: &'static str,
    /// Pictures that are shown if they are in the folder.
    pub(crate) pictures: &'static [&'static str],
    /// What it shows.
    pub(crate) shows: &'static str,
}

pub(crate) const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere {
        title: "A rule of one's own",
        command: "cargo run --release --example custom_rule",
        pictures: &[],
        shows: "Lion in four lines of WGSL ends at the same parameters as the built-in one, bit for bit.",
    },
    Elsewhere {
        title: "What clipping and noise do to gradients",
        command: "cargo run --release --example safeguards -- --out target/tutorials",
        pictures: &["safeguards.svg"],
        shows: "Clipping makes all gradients smaller by the same factor; noise changes only the small ones.",
    },
    Elsewhere {
        title: "Search without gradients",
        command: "cargo run --release --example search_pictures -- --out target/tutorials",
        pictures: &["population.svg", "convergence.svg", "settings.svg"],
        shows: "Populations gather in one of five minima; each method finds what random points do not; more members and more \
                mutations find more on Eggholder.",
    },
    Elsewhere {
        title: "A network that learns without gradients",
        command: "cargo run --release --example search_digits -- --out target/tutorials",
        pictures: &["accuracy.svg"],
        shows: "Two evolution strategies over the 2,410 parameters of a network come to an accuracy above 0.9 on unseen digits.",
    },
    Elsewhere {
        title: "A network under constraints",
        command: "cargo run --release --example constrained",
        pictures: &[],
        shows: "A network's training as a problem with constraints, by SLSQP.",
    },
    Elsewhere {
        title: "Hyperparameters by search",
        command: "cargo run --release --example tune_digits",
        pictures: &[],
        shows: "Searches tune the rate, the momentum and the decay of another optimizer.",
    },
];

const STYLE: &str = "
:root { color-scheme: light dark; --text: #222; --back: #fff; --quiet: #666; --line: #ddd; --code: #f3f3f3; }
@media (prefers-color-scheme: dark) {
  :root { --text: #ddd; --back: #16181b; --quiet: #9aa0a6; --line: #33373c; --code: #23272c; }
}
body { margin: 2rem auto; max-width: 58rem; padding: 0 1rem; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin: 0 0 .3rem; }
nav { columns: 18rem; } nav a { display: block; } a { color: inherit; }
section { border-top: 1px solid var(--line); margin-top: 2rem; padding-top: 1.5rem; break-inside: avoid; }
img { display: block; max-width: 100%; height: auto; margin: .8rem 0; background: #fff; border-radius: 6px; }
code { background: var(--code); padding: .1rem .3rem; border-radius: 4px; font-size: .85rem; overflow-wrap: anywhere; }
p { margin: .3rem 0; max-width: 46rem; } p.command { color: var(--quiet); }
@media print { nav { display: none; } }
";

/// The page, in one file that needs no network. `there` says which pictures of other programs the folder has.
pub(crate) fn page(entries: &[Entry], there: impl Fn(&str) -> bool) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>Tutorials in pictures</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>Tutorials in pictures</h1>\n\
         <p>What courses on optimization teach, made with Gradus. Each picture is checked for what its sentence says.</p>\n<nav>\n"
    );
    for Entry { name, title, .. } in entries {
        put(&mut page, format_args!("<a href=\"#{name}\">{}</a>\n", escaped(title)));
    }
    for (number, Elsewhere { title, .. }) in ELSEWHERE.iter().enumerate() {
        put(&mut page, format_args!("<a href=\"#other{number}\">{}</a>\n", escaped(title)));
    }
    page += "</nav>\n";
    for Entry { name, title, shows } in entries {
        let command = format!("cargo run --release --example tutorials -- {name}");
        let pictures = [format!("{name}.svg")];
        section(&mut page, name, title, shows, &command, &pictures);
    }
    for (number, other) in ELSEWHERE.iter().enumerate() {
        let pictures: Vec<String> =
            other.pictures.iter().filter(|name| there(name)).map(|name| (*name).to_owned()).collect();
        section(&mut page, &format!("other{number}"), other.title, other.shows, other.command, &pictures);
    }
    page + "</body>\n</html>\n"
}

fn section(page: &mut String, id: &str, title: &str, shows: &str, command: &str, pictures: &[String]) {
    let (title, shows, command) = (escaped(title), escaped(shows), escaped(command));
    put(page, format_args!("<section id=\"{id}\">\n<h2>{title}</h2>\n<p>{shows}</p>\n"));
    for picture in pictures {
        put(page, format_args!("<img src=\"{picture}\" alt=\"{shows}\"/>\n"));
    }
    put(page, format_args!("<p class=\"command\"><code>{command}</code></p>\n</section>\n"));
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a string takes all");
}

/// Text as it stands in HTML and in its attributes.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
