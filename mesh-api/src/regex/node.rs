//! The tree of an expression, each node with what its program costs.

use std::sync::Arc;

use regex_syntax::hir::{Capture, Class as HirClass, Hir, Look, Repetition};

use super::CAPTURES_MAX;
use super::class::Class;

/// A part of an expression.
#[derive(Debug, Clone)]
pub(super) struct Node {
    kind: Kind,
    /// States of the program.
    pub(super) size: u64,
    /// Levels down to the deepest leaf.
    pub(super) depth: u32,
    /// The largest product of nested counts.
    pub(super) repeats: u32,
}

#[derive(Debug, Clone)]
enum Kind {
    Empty,
    Literal(char),
    Class(Arc<Class>),
    Look(Look),
    Repeat {
        min: u32,
        max: Option<u32>,
        greedy: bool,
        node: Box<Node>,
    },
    Capture(u32, Box<Node>),
    Concat(Vec<Node>),
    Alternate(Vec<Node>),
}

impl Node {
    fn leaf(kind: Kind, size: u64) -> Self {
        Self {
            kind,
            size,
            depth: 1,
            repeats: 1,
        }
    }

    fn list(nodes: Vec<Node>, size: u64, kind: fn(Vec<Node>) -> Kind) -> Self {
        Self {
            size,
            depth: nodes.iter().map(|node| node.depth).max().unwrap_or(0) + 1,
            repeats: nodes.iter().map(|node| node.repeats).max().unwrap_or(1),
            kind: kind(nodes),
        }
    }

    pub(super) fn empty() -> Self {
        Self::leaf(Kind::Empty, 1)
    }

    pub(super) fn literal(character: char) -> Self {
        Self::leaf(Kind::Literal(character), character.len_utf8() as u64)
    }

    pub(super) fn class(class: Arc<Class>) -> Self {
        let size = class.states;
        Self::leaf(Kind::Class(class), size)
    }

    pub(super) fn look(look: Look) -> Self {
        Self::leaf(Kind::Look(look), 1)
    }

    /// Between `min` and `max` times `node`. Copies of the program stand for each of them.
    pub(super) fn repeat(node: Node, min: u32, max: Option<u32>, greedy: bool) -> Self {
        let copies = max.unwrap_or(min).max(1);
        Self {
            size: (node.size + 1).saturating_mul(copies.into()) + 1,
            depth: node.depth + 1,
            repeats: node.repeats.saturating_mul(copies),
            kind: Kind::Repeat {
                min,
                max,
                greedy,
                node: Box::new(node),
            },
        }
    }

    /// The group of this number, from 1.
    pub(super) fn capture(node: Node, number: u32) -> Self {
        if number > CAPTURES_MAX {
            return node;
        }
        Self {
            size: node.size + 2,
            depth: node.depth + 1,
            repeats: node.repeats,
            kind: Kind::Capture(number, Box::new(node)),
        }
    }

    pub(super) fn concat(nodes: Vec<Node>) -> Self {
        let mut flat = Vec::with_capacity(nodes.len());
        for node in nodes {
            match node.kind {
                Kind::Concat(inner) => flat.extend(inner),
                _ => flat.push(node),
            }
        }
        let mut nodes = flat;
        match nodes.len() {
            0 => Self::empty(),
            1 => nodes.remove(0),
            _ => {
                let size = nodes.iter().map(|node| node.size);
                let size = size.fold(0, u64::saturating_add);
                Self::list(nodes, size, Kind::Concat)
            }
        }
    }

    pub(super) fn alternate(nodes: Vec<Node>) -> Self {
        let mut flat = Vec::with_capacity(nodes.len());
        for node in nodes {
            match node.kind {
                Kind::Alternate(inner) => flat.extend(inner),
                _ => flat.push(node),
            }
        }
        let mut nodes = flat;
        match nodes.len() {
            0 => Self::empty(),
            1 => nodes.remove(0),
            _ => {
                let size = nodes.iter().map(|node| node.size + 1);
                let size = size.fold(1, u64::saturating_add);
                Self::list(nodes, size, Kind::Alternate)
            }
        }
    }

    /// What matches a whole value.
    pub(super) fn whole(&self) -> Hir {
        Hir::concat(vec![
            Hir::look(Look::Start),
            self.hir(false),
            Hir::look(Look::End),
        ])
    }

    /// What matches a part of a value, with its groups.
    pub(super) fn part(&self) -> Hir {
        self.hir(true)
    }

    fn hir(&self, captures: bool) -> Hir {
        match &self.kind {
            Kind::Empty => Hir::empty(),
            Kind::Literal(character) => Hir::literal(character.encode_utf8(&mut [0; 4]).as_bytes()),
            Kind::Class(class) => Hir::class(HirClass::Unicode(class.set.clone())),
            Kind::Look(look) => Hir::look(*look),
            Kind::Repeat {
                min,
                max,
                greedy,
                node,
            } => Hir::repetition(Repetition {
                min: *min,
                max: *max,
                greedy: *greedy,
                sub: Box::new(node.hir(captures)),
            }),
            Kind::Capture(index, node) if captures => Hir::capture(Capture {
                index: *index,
                name: None,
                sub: Box::new(node.hir(captures)),
            }),
            Kind::Capture(_, node) => node.hir(captures),
            Kind::Concat(nodes) => {
                Hir::concat(nodes.iter().map(|node| node.hir(captures)).collect())
            }
            Kind::Alternate(nodes) => {
                Hir::alternation(nodes.iter().map(|node| node.hir(captures)).collect())
            }
        }
    }
}
