//! A device tree as a kernel gets it: what a board is made of, and what each part needs of the others. Pure.
//!
//! Devicetree Specification 0.4, section 5.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};

const MAGIC: u32 = 0xd00d_feed;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOTHING: u32 = 4;
const END: u32 = 9;

/// Properties that name other nodes, each name followed by as many numbers as that node's own property says.
const SUPPLIERS: [(&str, &str); 9] = [
    ("clocks", "#clock-cells"),
    ("assigned-clocks", "#clock-cells"),
    ("resets", "#reset-cells"),
    ("power-domains", "#power-domain-cells"),
    ("mboxes", "#mbox-cells"),
    ("msi-parent", "#msi-cells"),
    ("interrupt-parent", ""),
    ("phy-handle", ""),
    ("pinctrl-0", ""),
];

/// The nodes, each behind its parent; the first is the machine itself.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    name: String,
    parent: Option<usize>,
    properties: BTreeMap<String, Vec<u8>>,
}

/// Which node, of the one tree.
pub(crate) type Place = usize;

impl Tree {
    /// Reads the tree.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        ensure!(number(bytes, 0)? == MAGIC, "no device tree");
        let (mut at, names) = (place(bytes, 8)?, place(bytes, 12)?);
        let mut tree = Self { nodes: Vec::new() };
        let mut inside: Vec<usize> = Vec::new();
        loop {
            let token = number(bytes, at)?;
            at += 4;
            match token {
                BEGIN_NODE => {
                    let name = text(bytes, at)?;
                    at = (at + name.len() + 1).next_multiple_of(4);
                    tree.nodes.push(Node {
                        name: name.to_owned(),
                        parent: inside.last().copied(),
                        properties: BTreeMap::new(),
                    });
                    inside.push(tree.nodes.len() - 1);
                }
                END_NODE => drop(inside.pop().context("a node ends twice")?),
                PROPERTY => {
                    let (length, name) = (place(bytes, at)?, place(bytes, at + 4)?);
                    let value = bytes.get(at + 8..at + 8 + length).context("it is cut off")?;
                    let node = inside.last().context("a property outside of all nodes")?;
                    let name = text(bytes, names + name)?.to_owned();
                    tree.nodes[*node].properties.insert(name, value.to_owned());
                    at = (at + 8 + length).next_multiple_of(4);
                }
                NOTHING => {}
                END => break,
                other => bail!("it has the unknown token {other}"),
            }
        }
        ensure!(inside.is_empty() && !tree.nodes.is_empty(), "its nodes do not end");
        Ok(tree)
    }

    /// Finds what `/aliases` calls so.
    pub(crate) fn alias(&self, name: &str) -> Option<Place> {
        let aliases = self.at("/aliases")?;
        self.at(self.texts(aliases, name).next()?)
    }

    /// Finds the console: what `/chosen` names, by an alias or a path.
    pub(crate) fn console(&self) -> Option<Place> {
        let named = self.texts(self.at("/chosen")?, "stdout-path").next()?;
        let named = named.split_once(':').map_or(named, |(name, _speed)| name);
        self.alias(named).or_else(|| self.at(named))
    }

    /// Finds a node by its path.
    fn at(&self, path: &str) -> Option<Place> {
        let mut names = path.strip_prefix('/')?.split('/');
        names.try_fold(0, |parent, name| {
            self.nodes.iter().position(|node| node.parent == Some(parent) && node.name == name)
        })
    }

    /// Returns the path of a node.
    pub(crate) fn path(&self, place: Place) -> String {
        let node = &self.nodes[place];
        node.parent
            .map_or_else(String::new, |parent| format!("{}/{}", self.path(parent), node.name))
    }

    /// Returns a node's name without its address.
    pub(crate) fn name(&self, place: Place) -> &str {
        let name = &self.nodes[place].name;
        name.split_once('@').map_or(name, |(name, _)| name)
    }

    /// Returns what a node says it is, the most exact first.
    pub(crate) fn compatible(&self, place: Place) -> Vec<&str> {
        self.texts(place, "compatible").collect()
    }

    /// Holds for a node that is in use.
    pub(crate) fn is_on(&self, place: Place) -> bool {
        self.texts(place, "status").next().is_none_or(|status| matches!(status, "okay" | "ok"))
    }

    /// Returns a property that is one number.
    pub(crate) fn number(&self, place: Place, property: &str) -> Option<u32> {
        number(self.nodes[place].properties.get(property)?, 0).ok()
    }

    /// Returns the node whose handle is in a property.
    pub(crate) fn follow(&self, place: Place, property: &str) -> Option<Place> {
        self.handle(self.number(place, property)?)
    }

    /// Returns all that nodes need: what they stand on, what supplies those, and they themselves, without the machine.
    /// Suppliers that are switched off Linux does not wait for (`drivers/of/property.c`).
    pub(crate) fn needs(&self, of: &[Place]) -> Result<Vec<Place>> {
        let mut needs = of.to_vec();
        let mut done = 0;
        while let Some(place) = needs.get(done).copied() {
            let parent = self.nodes[place].parent.filter(|parent| *parent != 0);
            let suppliers = self.suppliers(place)?.into_iter().filter(|place| self.is_on(*place));
            for next in suppliers.chain(parent) {
                if !needs.contains(&next) {
                    needs.push(next);
                }
            }
            done += 1;
        }
        Ok(needs)
    }

    fn suppliers(&self, place: Place) -> Result<Vec<Place>> {
        let mut suppliers = Vec::new();
        for (property, value) in &self.nodes[place].properties {
            let known = SUPPLIERS.iter().find(|(name, _)| name == property);
            let cells = if let Some((_, cells)) = known {
                cells
            } else if property == "gpios" || property.ends_with("-gpios") || property == "gpio" {
                "#gpio-cells"
            } else if property.ends_with("-supply") {
                ""
            } else {
                continue;
            };
            let mut at = 0;
            while at < value.len() {
                let handle = number(value, at)?;
                // Zero stands for none.
                let supplier = self.handle(handle).filter(|_| handle != 0);
                ensure!(
                    supplier.is_some() || handle == 0,
                    "{}: {property} names nobody",
                    self.path(place)
                );
                let count = supplier.and_then(|supplier| self.number(supplier, cells)).unwrap_or(0);
                at += 4 + 4 * usize::try_from(count)?;
                suppliers.extend(supplier);
            }
        }
        Ok(suppliers)
    }

    fn handle(&self, handle: u32) -> Option<Place> {
        (0..self.nodes.len()).find(|place| self.number(*place, "phandle") == Some(handle))
    }

    fn texts(&self, place: Place, property: &str) -> impl Iterator<Item = &str> {
        let value = self.nodes[place].properties.get(property);
        let texts = value.and_then(|value| str::from_utf8(value).ok()).unwrap_or_default();
        texts.split_terminator('\0')
    }
}

fn number(bytes: &[u8], at: usize) -> Result<u32> {
    let four = bytes.get(at..).and_then(|rest| rest.first_chunk()).context("it is cut off")?;
    Ok(u32::from_be_bytes(*four))
}

fn place(bytes: &[u8], at: usize) -> Result<usize> {
    Ok(usize::try_from(number(bytes, at)?)?)
}

fn text(bytes: &[u8], at: usize) -> Result<&str> {
    let rest = bytes.get(at..).context("it is cut off")?;
    let length = rest.iter().position(|byte| *byte == 0).context("it is cut off")?;
    Ok(str::from_utf8(&rest[..length])?)
}

#[cfg(test)]
pub(crate) mod tests;
