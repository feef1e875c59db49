//! Paths with wildcards, and what they mean on a filesystem that is mounted somewhere.

use super::list::{HOMES, KEPT, RULES, Rule, Takes};

/// A part of a path between slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// This name.
    Name(Vec<u8>),
    /// Any name that fits.
    Like(&'static str),
}

/// An absolute path with wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(pub(super) Vec<Part>);

/// Everything that a walk has to know: the rules at each place where they apply, and what is kept.
#[derive(Debug, Clone)]
pub struct List {
    rules: Vec<(usize, Pattern)>,
    kept: Vec<Pattern>,
    mounts: Vec<Pattern>,
    longest: usize,
}

/// Why a path is not entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// The list keeps it.
    Kept,
    /// The system mounts something else there.
    MountedOver,
}

impl Part {
    fn holds(&self, name: &[u8]) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Like(pattern) => fits(pattern.as_bytes(), name),
        }
    }
}

impl Pattern {
    fn new(path: &'static str) -> impl Iterator<Item = Self> {
        let (home, rest) = match path.find('}') {
            Some(end) => path.split_at(end + 1),
            None => ("", path),
        };
        let homes = HOMES.iter().find(|(name, _)| *name == home);
        homes.map_or(&[""][..], |(_, homes)| homes).iter().map(move |home| {
            let parts = home.split('/').chain(rest.split('/')).filter(|part| !part.is_empty());
            let part = |part: &'static str| {
                let is_plain = !part.contains('*');
                if is_plain { Part::Name(part.as_bytes().to_vec()) } else { Part::Like(part) }
            };
            Self(parts.map(part).collect())
        })
    }

    /// A path that somebody wrote down, in which nothing is a wildcard.
    fn literal(path: &[u8]) -> Self {
        Self(names(path).map(|name| Part::Name(name.to_vec())).collect())
    }

    fn is(&self, path: &[u8]) -> bool {
        let mut names = names(path);
        self.0.iter().all(|part| names.next().is_some_and(|name| part.holds(name)))
            && names.next().is_none()
    }

    /// Holds when the path is this or lies below it.
    fn covers(&self, path: &[u8]) -> bool {
        let mut names = names(path);
        self.0.iter().all(|part| names.next().is_some_and(|name| part.holds(name)))
    }

    /// Returns what is left of the pattern from a path on; nothing where the path does not lead to it.
    fn from(&self, path: &[u8]) -> Option<&[Part]> {
        let mut parts = self.0.as_slice();
        for name in names(path) {
            let (first, rest) = parts.split_first()?;
            if !first.holds(name) {
                return None;
            }
            parts = rest;
        }
        Some(parts)
    }
}

impl Default for List {
    fn default() -> Self {
        Self::new(&[], &[])
    }
}

impl List {
    /// Returns the tables, with what else this system keeps and where it mounts other filesystems, as absolute paths.
    pub fn new(kept: &[Vec<u8>], mounts: &[Vec<u8>]) -> Self {
        let literal = |paths: &[Vec<u8>]| -> Vec<Pattern> {
            let patterns = paths.iter().map(|path| Pattern::literal(path));
            // A filesystem mounted at `/` is what is walked.
            patterns.filter(|pattern| !pattern.0.is_empty()).collect()
        };
        let rules = RULES.iter().enumerate();
        let rules =
            rules.flat_map(|(index, rule)| Pattern::new(rule.path).map(move |one| (index, one)));
        let mut all = literal(kept);
        all.extend(KEPT.iter().flat_map(|one| Pattern::new(one.path)));
        let mounts = literal(mounts);
        let longest = all.iter().chain(&mounts).map(|pattern| pattern.0.len()).max();
        Self { rules: rules.collect(), kept: all, mounts, longest: longest.unwrap_or(0) }
    }

    /// Returns the rules that reach a filesystem mounted at `at`, with the rest of their paths below it.
    pub(super) fn rules_at<'l>(
        &'l self,
        at: &'l [u8],
    ) -> impl Iterator<Item = (usize, &'static Rule, &'l [Part])> {
        self.rules.iter().filter_map(move |(index, pattern)| {
            Some((*index, RULES.get(*index)?, pattern.from(at)?))
        })
    }

    /// Says whether a path is closed, whose parents are not.
    pub(super) fn closed(&self, path: &[u8]) -> Option<Closed> {
        // Deeper paths are not named: not even counted to their ends.
        if names(path).take(self.longest + 1).count() > self.longest {
            return None;
        }
        if self.kept.iter().any(|pattern| pattern.is(path)) {
            return Some(Closed::Kept);
        }
        self.mounts.iter().any(|pattern| pattern.is(path)).then_some(Closed::MountedOver)
    }

    /// Holds when a path or one above it is kept.
    pub(super) fn is_kept(&self, path: &[u8]) -> bool {
        self.kept.iter().any(|pattern| pattern.covers(path))
    }

    /// Holds when all of a directory belongs to a rule of its own, other than this.
    pub(super) fn belongs_to_another(&self, path: &[u8], rule: usize) -> bool {
        let mut others = self.rules.iter().filter(|(index, _)| *index != rule);
        others.any(|(index, pattern)| {
            RULES.get(*index).is_some_and(|rule| rule.takes == Takes::Contents) && pattern.is(path)
        })
    }
}

impl Part {
    /// Returns the name, where it is a plain one.
    pub(super) fn name(&self) -> Option<&[u8]> {
        match self {
            Self::Name(name) => Some(name),
            Self::Like(_) => None,
        }
    }

    pub(super) fn fits(&self, name: &[u8]) -> bool {
        self.holds(name)
    }
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}

/// Holds when a name is like a pattern, in which each `*` stands for any number of bytes.
pub(super) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let Some(star) = pattern.iter().position(|byte| *byte == b'*') else { return pattern == name };
    let (start, rest) = (&pattern[..star], &pattern[star + 1..]);
    let Some(name) = name.strip_prefix(start) else { return false };
    (0..=name.len()).any(|skip| fits(rest, &name[skip..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_bytes_of_one_name() {
        let cases: [(&str, &str, bool); 8] = [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*.sock", "x.sock", true),
            ("*.sock", "x.sock2", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("core.*", "core.", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn no_rule_begins_in_what_is_kept_and_every_home_is_known() {
        let list = List::default();
        for (index, pattern) in &list.rules {
            let path: Vec<u8> = pattern
                .0
                .iter()
                .flat_map(|part| {
                    let name = part.name().unwrap_or(b"anything");
                    [b"/", name].concat()
                })
                .collect();
            assert!(!list.is_kept(&path), "{}", RULES[*index].path);
        }
        for path in RULES.iter().map(|rule| rule.path).chain(KEPT.iter().map(|kept| kept.path)) {
            let begins_well = path.starts_with('/')
                || HOMES.iter().any(|(home, _)| {
                    path.strip_prefix(home)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                });
            assert!(begins_well, "{path}");
        }
    }

    #[test]
    fn rules_apply_to_the_filesystem_that_holds_their_directory() {
        let list = List::default();
        let at = |at: &str| -> Vec<&'static str> {
            list.rules_at(at.as_bytes()).map(|(_, rule, _)| rule.path).collect()
        };
        assert!(at("/").contains(&"/tmp") && at("/").contains(&"/var/lib/cni/networks"));
        assert!(at("/var").contains(&"/var/tmp") && !at("/var").contains(&"/tmp"));
        assert_eq!(at("/tmp"), ["/tmp"]);
        assert_eq!(at("/var/lib/kubelet/pods/1/containers"), ["{kubelet}/pods/*/containers"]);
        // Not what is mounted somewhere in what a rule names.
        assert!(at("/tmp/mine").is_empty() && at("/home").is_empty());
    }

    #[test]
    fn what_the_system_keeps_or_mounts_is_closed_and_nothing_in_it_is_a_wildcard() {
        let list = List::new(&[b"/var/tmp/*".to_vec()], &[b"/var".to_vec(), b"/".to_vec()]);
        assert_eq!(list.closed(b"/var"), Some(Closed::MountedOver));
        assert_eq!(list.closed(b"/var/tmp/*"), Some(Closed::Kept));
        assert_eq!(list.closed(b"/var/tmp/x"), None);
        assert_eq!(list.closed(b"/home"), Some(Closed::Kept));
        assert_eq!(list.closed(b"/var/lib/kubelet/pods/1/volumes"), Some(Closed::Kept));
        assert!(list.is_kept(b"/home/a/b") && !list.is_kept(b"/homes"));
        assert_eq!(list.closed(b"/a/b/c/d/e/f/g/h/i/j/k"), None);
    }

    #[test]
    fn what_one_rule_owns_another_leaves() {
        let list = List::default();
        let log = RULES.iter().position(|rule| rule.path == "/var/log").unwrap();
        assert!(list.belongs_to_another(b"/var/log/pods", log));
        assert!(!list.belongs_to_another(b"/var/log/nginx", log));
    }
}
