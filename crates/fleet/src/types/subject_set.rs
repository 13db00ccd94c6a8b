//! Subjects by token, to find what a subject overlaps without holding it against each of thousands.

use super::Subject;
use std::collections::BTreeMap;

/// Subjects that were added, each under a number.
#[derive(Default)]
pub(crate) struct SubjectSet<'s> {
    next: BTreeMap<&'s str, SubjectSet<'s>>,
    /// The number of the subject that ends here.
    end: Option<usize>,
    /// The least number of all that pass here.
    least: Option<usize>,
}

impl<'s> SubjectSet<'s> {
    pub(crate) fn add(&mut self, subject: &'s Subject, number: usize) {
        let mut node = self;
        for token in subject.as_str().split('.') {
            node = node.next.entry(token).or_default();
            node.least = node.least.into_iter().chain([number]).min();
        }
        node.end = node.end.into_iter().chain([number]).min();
    }

    /// The least number of those that some message of `subject` belongs to as well.
    pub(crate) fn overlapping(&self, subject: &Subject) -> Option<usize> {
        let tokens: Vec<&str> = subject.as_str().split('.').collect();
        self.find(&tokens)
    }

    fn find(&self, tokens: &[&str]) -> Option<usize> {
        let Some((token, rest)) = tokens.split_first() else { return self.end };
        if *token == ">" {
            return self.next.values().filter_map(|next| next.least).min();
        }
        let to_the_end = self.next.get(">").and_then(|next| next.end);
        let here = match *token {
            "*" => self.next.values().filter_map(|next| next.find(rest)).min(),
            token => [token, "*"].iter().filter_map(|key| self.next.get(key)?.find(rest)).min(),
        };
        to_the_end.into_iter().chain(here).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_what_holding_one_against_each_finds() {
        let mut all = vec![String::new()];
        let mut subjects = Vec::new();
        for _ in 0..3 {
            let longer = |start: &String| {
                let dot = if start.is_empty() { "" } else { "." };
                ["a", "b", "*", ">"].map(|token| format!("{start}{dot}{token}"))
            };
            all = all.iter().filter(|start| !start.ends_with('>')).flat_map(longer).collect();
            subjects.extend(all.iter().map(|text| Subject::unchecked(text)));
        }
        assert_eq!(subjects.len(), 4 + 12 + 36);
        for first in 0..subjects.len() {
            let mut set = SubjectSet::default();
            let numbers: Vec<usize> = (first..subjects.len()).step_by(3).collect();
            numbers.iter().for_each(|number| set.add(&subjects[*number], *number));
            for subject in &subjects {
                let expected = numbers.iter().copied().find(|number| subjects[*number].overlaps(subject));
                assert_eq!(set.overlapping(subject), expected, "{subject}");
            }
        }
    }
}
