//! Where the nodes of a picture go: in layers from left to right, with few crossings.

use rust_sugiyama::configure::{Config, CrossingMinimization, RankingType};
use rust_sugiyama::from_vertices_and_edges;

use super::Picture;

/// A node's size and the middle of its place, in pixels.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spot {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// Room between neighbours.
const GAP: f64 = 18.0;
/// Room between layers, for what is written at the lines.
const BETWEEN: f64 = 78.0;
/// With more nodes than this the slower refinements are left out.
const FINE: usize = 160;

/// Places the nodes whose sizes are given; the width and height of all.
pub fn place(picture: &Picture, sizes: &[(f64, f64)]) -> (Vec<Spot>, f64, f64) {
    let number = |at: usize| u32::try_from(at).expect("a picture has far fewer nodes");
    // The algorithm goes from top to bottom: a picture from left to right has its sides swapped.
    let vertices: Vec<(u32, (f64, f64))> =
        sizes.iter().enumerate().map(|(at, (width, height))| (number(at), (*height, *width + BETWEEN))).collect();
    let edges: Vec<(u32, u32)> = picture.lines.iter().map(|line| (number(line.from), number(line.to))).collect();
    let fine = sizes.len() <= FINE;
    let config = Config {
        minimum_length: 1,
        vertex_spacing: GAP,
        dummy_vertices: true,
        dummy_size: 0.5,
        ranking_type: if fine { RankingType::MinimizeEdgeLength } else { RankingType::Up },
        c_minimization: CrossingMinimization::Barycenter,
        transpose: fine,
    };
    let mut spots: Vec<Spot> =
        sizes.iter().map(|(width, height)| Spot { x: 0.0, y: 0.0, width: *width, height: *height }).collect();
    let (mut right, mut bottom): (f64, f64) = (0.0, 0.0);
    for (part, ..) in from_vertices_and_edges(&vertices, &edges, &config) {
        // Parts without a connection stand below each other.
        let left = part.iter().map(|(at, (_, along))| along - sizes[*at].0 / 2.0).fold(f64::INFINITY, f64::min);
        let top = part.iter().map(|(at, (across, _))| across - sizes[*at].1 / 2.0).fold(f64::INFINITY, f64::min);
        let mut lowest = bottom;
        for (at, (across, along)) in part {
            let spot = &mut spots[at];
            spot.x = along - left + GAP;
            spot.y = across - top + bottom + GAP;
            right = right.max(spot.x + spot.width / 2.0);
            lowest = lowest.max(spot.y + spot.height / 2.0);
        }
        bottom = lowest;
    }
    (spots, right + GAP, bottom + GAP)
}
