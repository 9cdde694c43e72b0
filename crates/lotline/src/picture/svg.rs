//! A picture as SVG.

use std::collections::VecDeque;
use std::fmt::Write as _;

use lotline_projections::Tier;

use super::layout::{Spot, place};
use super::{Kind, Line, Node, Picture};

/// More nodes than this cannot be read on a page; the nearest ones are drawn.
const NODES_MAX: usize = 250;
const LINE_HEIGHT: f64 = 14.0;
const LETTER: f64 = 6.6;
const SMALL_LETTER: f64 = 5.6;
const TITLE_LETTER: f64 = 8.8;

/// An SVG, and what it does not show.
#[derive(Debug)]
pub struct Drawn {
    /// The SVG.
    pub text: String,
    /// How many nodes are not drawn, because they are too far from where the trace begins.
    pub left_out: usize,
}

impl Drawn {
    /// That in words, behind the name of a file; empty when all is drawn.
    pub fn left_out_words(&self) -> String {
        match self.left_out {
            0 => String::new(),
            more => {
                format!(" (limited to the {NODES_MAX} nearest nodes; {more} more are only in the table and in --dot)")
            }
        }
    }
}

/// Draws a picture.
pub fn svg(picture: &Picture) -> Drawn {
    let (near, left_out) = nearest(picture);
    let sizes: Vec<(f64, f64)> = near.nodes.iter().map(size).collect();
    let (spots, width, height) = place(&near, &sizes);
    let width = width.max(560.0);
    let (above, top) = head(&near.title, left_out, width);
    let mut out = String::new();
    let _ = writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{:.0}" viewBox="0 0 {width:.0} {:.0}" font-family="Helvetica, Arial, sans-serif" font-size="11">"#,
        height + top,
        height + top
    );
    out.push_str(STYLE);
    out.push_str(&above);
    let _ = writeln!(out, r#"<g transform="translate(0 {top})">"#);
    for line in &near.lines {
        draw_line(&mut out, line, &spots);
    }
    for (node, spot) in near.nodes.iter().zip(&spots) {
        draw_node(&mut out, node, *spot);
    }
    // Labels last, so that no box hides one.
    for line in near.lines.iter().filter(|line| !line.label.is_empty()) {
        draw_label(&mut out, &near, line, &spots);
    }
    out.push_str("</g>\n</svg>\n");
    Drawn { text: out, left_out }
}

const STYLE: &str = r##"<defs>
<marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#4a5560"/></marker>
<marker id="g" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#b8bec4"/></marker>
</defs>
<style>
rect, path.hub { stroke: #4a5560; stroke-width: 1.2 }
.batch { fill: #f3f7fb } .start { fill: #ffe9b8; stroke-width: 2.4 } .run { fill: #ffffff } .vessel { fill: #e3eef2 } .party { fill: #e9f5e4 }
.line { fill: none; stroke: #4a5560; stroke-width: 1.2; marker-end: url(#a) }
.possible { stroke-dasharray: 5 4 }
.cleared { stroke: #b8bec4; fill: #fafafa } .line.cleared { fill: none; marker-end: url(#g) } text.cleared { fill: #9aa1a8; stroke: none }
text { fill: #1d252c } .name { font-weight: bold } .title { font-size: 15px; font-weight: bold } .limited { font-weight: bold; fill: #a02020 } .small { font-size: 9.5px } .label { font-size: 9px; paint-order: stroke; stroke: #ffffff; stroke-width: 3px }
</style>
<rect width="100%" height="100%" fill="#ffffff" style="stroke: none"/>
"##;

/// What stands above the picture, in lines that are not wider than it, and how high that is.
fn head(title: &str, left_out: usize, width: f64) -> (String, f64) {
    let mut out = String::new();
    let mut y = 8.0;
    let mut line = |text: &str, class: &str, height: f64| {
        y += height;
        let _ = writeln!(out, r#"<text x="20" y="{y}" class="{class}">{}</text>"#, escaped(text));
    };
    let room = width - 40.0;
    wrapped(title, room / TITLE_LETTER).iter().for_each(|text| line(text, "title", 18.0));
    if left_out > 0 {
        let limited = format!("LIMITED: {left_out} nodes further away are not drawn; what is drawn may go on there.");
        wrapped(&limited, room / LETTER).iter().for_each(|text| line(text, "limited", 17.0));
    }
    wrapped(LEGEND, room / SMALL_LETTER).iter().for_each(|text| line(text, "small", 13.0));
    (out, y + 12.0)
}

const LEGEND: &str = "Time runs from left to right. Box: a batch, how much came of it, and where it is. Rounded: a run or \
                      a vessel. Green: a supplier, or a batch that customers have. Dashed: possible. Grey: cleared.";

/// A text in lines of at most so many letters, as far as its words allow that.
fn wrapped(text: &str, letters: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if (line.chars().count() + 1 + word.chars().count()) as f64 <= letters => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The nodes nearest to the beginning, as many as can be read, with the lines between them.
fn nearest(picture: &Picture) -> (Picture, usize) {
    let count = picture.nodes.len();
    if count <= NODES_MAX {
        return (picture.clone(), 0);
    }
    let mut beside: Vec<Vec<usize>> = vec![Vec::new(); count];
    for line in &picture.lines {
        beside[line.from].push(line.to);
        beside[line.to].push(line.from);
    }
    let mut number: Vec<Option<usize>> = vec![None; count];
    let mut queue: VecDeque<usize> = (0..count).filter(|at| picture.nodes[*at].kind == Kind::Start).collect();
    let mut kept = Vec::new();
    let mut seen = vec![false; count];
    queue.iter().for_each(|at| seen[*at] = true);
    while let Some(at) = queue.pop_front() {
        if kept.len() == NODES_MAX {
            break;
        }
        number[at] = Some(kept.len());
        kept.push(picture.nodes[at].clone());
        for next in &beside[at] {
            if !std::mem::replace(&mut seen[*next], true) {
                queue.push_back(*next);
            }
        }
    }
    let lines = picture
        .lines
        .iter()
        .filter_map(|line| Some(Line { from: number[line.from]?, to: number[line.to]?, ..line.clone() }))
        .collect();
    let left_out = count - kept.len();
    (Picture { title: picture.title.clone(), nodes: kept, lines }, left_out)
}

/// A number of letters or lines as pixels; far too few for a rounding.
fn many(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn size(node: &Node) -> (f64, f64) {
    let longest = node.lines.iter().map(|line| line.chars().count()).max().unwrap_or(1);
    match node.kind {
        Kind::Start | Kind::Batch => {
            ((many(longest) * LETTER + 18.0).max(90.0), many(node.lines.len()) * LINE_HEIGHT + 12.0)
        }
        Kind::Run | Kind::Vessel => (many(longest) * SMALL_LETTER + 16.0, 20.0),
        Kind::Party => (many(longest) * LETTER + 18.0, 24.0),
    }
}

fn tone(tier: Tier) -> &'static str {
    match tier {
        Tier::Certain => "",
        Tier::Possible => " possible",
        Tier::Cleared => " cleared",
    }
}

fn draw_node(out: &mut String, node: &Node, spot: Spot) {
    let (left, top) = (spot.x - spot.width / 2.0, spot.y - spot.height / 2.0);
    let (class, round) = match node.kind {
        Kind::Start => ("start", 3.0),
        Kind::Batch if node.outside => ("party", 3.0),
        Kind::Batch => ("batch", 3.0),
        Kind::Run => ("run", 10.0),
        Kind::Vessel => ("vessel", 10.0),
        Kind::Party => ("party", 3.0),
    };
    let tone = tone(node.tier);
    let _ = writeln!(
        out,
        r#"<rect x="{left:.1}" y="{top:.1}" width="{:.1}" height="{:.1}" rx="{round}" class="{class}{tone}"/>"#,
        spot.width, spot.height
    );
    let small = matches!(node.kind, Kind::Run | Kind::Vessel);
    let first = spot.y - (many(node.lines.len()) - 1.0) * LINE_HEIGHT / 2.0 + 4.0;
    for (at, line) in node.lines.iter().enumerate() {
        let weight = if small {
            " small"
        } else if at < 2 && matches!(node.kind, Kind::Start | Kind::Batch) {
            " name"
        } else {
            ""
        };
        let _ = writeln!(
            out,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle" class="{}{weight}">{}</text>"#,
            spot.x,
            first + many(at) * LINE_HEIGHT,
            tone.trim(),
            escaped(line)
        );
    }
}

/// The ends of a line: from the right side to the left side.
fn ends(line: &Line, spots: &[Spot]) -> ((f64, f64), (f64, f64)) {
    let (from, to) = (spots[line.from], spots[line.to]);
    ((from.x + from.width / 2.0, from.y), (to.x - to.width / 2.0, to.y))
}

fn draw_line(out: &mut String, line: &Line, spots: &[Spot]) {
    let ((x1, y1), (x2, y2)) = ends(line, spots);
    let tone = tone(line.tier);
    let path = if x2 > x1 {
        let bend = ((x2 - x1) / 2.0).min(90.0);
        format!("M{x1:.1} {y1:.1}C{:.1} {y1:.1} {:.1} {y2:.1} {x2:.1} {y2:.1}", x1 + bend, x2 - bend)
    } else {
        // Back to an earlier layer (rework): around below both.
        let low = y1.max(y2) + 60.0;
        format!("M{x1:.1} {y1:.1}C{:.1} {low:.1} {:.1} {low:.1} {x2:.1} {y2:.1}", x1 + 70.0, x2 - 70.0)
    };
    let _ = writeln!(out, r#"<path d="{path}" class="line{tone}"/>"#);
}

/// What went along a line stands at the end of the batch: at a run or vessel many lines come together.
fn draw_label(out: &mut String, picture: &Picture, line: &Line, spots: &[Spot]) {
    let ((x1, y1), (x2, y2)) = ends(line, spots);
    let into_hub = matches!(picture.nodes[line.to].kind, Kind::Run | Kind::Vessel);
    // Lines of one batch into several hubs part soon.
    let leaving = picture.lines.iter().filter(|other| other.from == line.from).count();
    let apart = if leaving > 1 { ((y2 - y1) * 0.3).clamp(-18.0, 18.0) } else { 0.0 };
    let (x, y, anchor) = match (x2 > x1, into_hub) {
        (true, true) => (x1 + 5.0 + apart.abs(), y1 - 4.0 + apart, "start"),
        (true, false) => (x2 - 10.0, y2 - 4.0, "end"),
        (false, _) => (f64::midpoint(x1, x2), y1.max(y2) + 44.0, "middle"),
    };
    let _ = writeln!(
        out,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="label{}">{}</text>"#,
        tone(line.tier).replace(" possible", ""),
        escaped(&line.label)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
