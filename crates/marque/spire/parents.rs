//! What the parent of an entry bound it to, and which selectors of a process say the same.
//!
//! In SPIRE an entry is for the nodes that its parent names: one attested node, a node alias (an entry below the server, with
//! selectors of nodes), or another entry, which in turn has a parent. A process is held to its own entry's selectors alone.
//! Nodes are nothing here, so a parent is kept only as far as a process of such a node can be told by its own selectors: the
//! name of the node that a pod runs on is one of both. Nothing is widened by that, and nothing else is guessed.

use std::collections::{BTreeSet, HashMap};

use marque_registry::SpireEntry;
use marque_spiffe::Selector;

use super::convert::visible;
use super::{ConvertedEntry, Note, NoteCode};

/// How a node's selector begins, and how that of a pod on such a node does.
const OF_PODS: [(&str, &str); 1] = [("k8s_psat:agent_node_name:", "k8s:node-name:")];
/// How the selectors of pods begin.
const POD: &str = "k8s:";
/// How far up parents are followed.
const MAX_DEPTH: usize = 16;
/// For how many groups of nodes one entry may be, to be written once for each.
const MAX_WAYS: usize = 64;

/// The entries of one file, to look parents up in.
pub(super) struct Parents<'a> {
    by_spiffe_id: HashMap<&'a str, Vec<&'a SpireEntry>>,
}

/// What stands in for a parent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Bound {
    /// One set of selectors for each entry to write, beside its own; one empty set where nothing stands in.
    pub(super) instead: Vec<BTreeSet<Selector>>,
    /// What it was bound to and is not any more, each as SPIRE writes it.
    pub(super) lost: Vec<String>,
}

/// One group of nodes that an entry is for.
enum Nodes<'a> {
    /// Those that have all of these.
    With(&'a [String]),
    /// One node, or what no entry of the file is.
    Named(&'a str),
}

impl<'a> Parents<'a> {
    pub(super) fn of(entries: &'a [SpireEntry]) -> Self {
        let mut by_spiffe_id: HashMap<&str, Vec<&SpireEntry>> = HashMap::new();
        for entry in entries {
            by_spiffe_id.entry(entry.spiffe_id.as_str()).or_default().push(entry);
        }
        Self { by_spiffe_id }
    }

    /// What stands in for the parent of an entry.
    pub(super) fn bound(&self, entry: &'a SpireEntry, server: &str) -> Bound {
        let nothing = || vec![BTreeSet::new()];
        if entry.parent_id.is_empty() {
            return Bound { instead: nothing(), lost: Vec::new() };
        }
        let mut ways = Vec::new();
        self.follow(&entry.parent_id, server, MAX_DEPTH, &mut ways);
        let of_pods = entry.selectors.iter().any(|selector| selector.starts_with(POD));
        let instead: Vec<BTreeSet<Selector>> = ways.iter().map(Nodes::of_pods).collect();
        let all = of_pods && instead.len() <= MAX_WAYS && instead.iter().all(|one| !one.is_empty());
        let lost: BTreeSet<&str> = ways.iter().flat_map(|way| way.lost(all)).collect();
        let lost = lost.into_iter().map(ToOwned::to_owned).collect();
        if !all {
            return Bound { instead: nothing(), lost };
        }
        let mut different: Vec<BTreeSet<Selector>> = Vec::new();
        for one in instead {
            // Less is asked of a process by a set that another one has whole: that one is for none besides.
            if !different.iter().any(|other| other.is_subset(&one)) {
                different.retain(|other| !one.is_subset(other));
                different.push(one);
            }
        }
        Bound { instead: different, lost }
    }

    /// Every group of nodes that something below `parent` is for. One more than are of use is enough.
    fn follow(&self, parent: &'a str, server: &str, depth: usize, ways: &mut Vec<Nodes<'a>>) {
        let above = self.by_spiffe_id.get(parent).filter(|_| depth > 0);
        let Some(above) = above.filter(|above| !above.is_empty()) else {
            return ways.push(Nodes::Named(parent));
        };
        for entry in above {
            if ways.len() > MAX_WAYS {
                return;
            }
            if entry.parent_id == server {
                ways.push(Nodes::With(&entry.selectors));
            } else if entry.parent_id.is_empty() {
                ways.push(Nodes::Named(parent));
            } else {
                self.follow(&entry.parent_id, server, depth - 1, ways);
            }
        }
    }
}

impl Bound {
    /// Says what became of the parent of an entry: above each entry that comes of it, and in a note for what stands in for it
    /// and one for what is lost.
    pub(super) fn told(&self, entry: &SpireEntry, converted: &mut [ConvertedEntry]) -> Vec<Note> {
        if entry.parent_id.is_empty() {
            return Vec::new();
        }
        let (mut notes, parent) = (Vec::new(), visible(&entry.parent_id));
        let lost: Vec<String> = self.lost.iter().map(|one| visible(one)).collect();
        let instead: BTreeSet<String> =
            self.instead.iter().flatten().map(ToString::to_string).collect();
        let here = match instead.is_empty() {
            true => "every host of the trust domain",
            false => "those with its selectors",
        };
        for one in converted {
            one.comments.push(format!("below {parent} there: here {here}"));
            one.comments.extend(lost.iter().map(|lost| format!("not bound any more to {lost}")));
        }
        let quoted = |texts: &mut dyn Iterator<Item = &String>, between: &str| {
            texts.map(|one| format!("`{one}`")).collect::<Vec<_>>().join(between)
        };
        if !instead.is_empty() {
            let all = quoted(&mut instead.iter(), " or ");
            let message = format!("`parent_id`: `{parent}` is said by {all} here");
            let note = Note::about(entry, NoteCode::Flattened, message);
            notes.push(Note { instead: instead.into_iter().collect(), ..note });
        }
        if !lost.is_empty() {
            let all = quoted(&mut lost.iter(), ", ");
            let message = format!(
                "`parent_id`: it was below `{parent}` and is not bound to {all} here; add a selector that only its hosts have"
            );
            let note = Note::about(entry, NoteCode::Parent, message);
            notes.push(Note { lost, ..note });
        }
        notes
    }
}

impl<'a> Nodes<'a> {
    /// The selectors that every pod of such a node has.
    fn of_pods(&self) -> BTreeSet<Selector> {
        match self {
            Self::With(selectors) => selectors.iter().filter_map(|one| of_pod(one)).collect(),
            Self::Named(_) => BTreeSet::new(),
        }
    }

    /// What is lost of it: all, or all for which nothing stands.
    fn lost(&self, some_stand: bool) -> Vec<&'a str> {
        match self {
            Self::Named(id) => vec![id],
            Self::With(selectors) => {
                let lost = selectors.iter().filter(|one| !some_stand || of_pod(one).is_none());
                lost.map(String::as_str).collect()
            }
        }
    }
}

fn of_pod(selector: &str) -> Option<Selector> {
    OF_PODS.iter().find_map(|(of_node, of_pod)| {
        format!("{of_pod}{}", selector.strip_prefix(of_node)?).parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "spiffe://example.org/spire/server";

    fn entry(path: &str, parent: &str, selectors: &[&str]) -> SpireEntry {
        SpireEntry {
            spiffe_id: format!("spiffe://example.org{path}"),
            parent_id: format!("spiffe://example.org{parent}"),
            selectors: selectors.iter().map(|one| (*one).to_owned()).collect(),
            ..SpireEntry::default()
        }
    }

    /// What stands in for the last entry's parent, and what is lost.
    fn told(entries: &[SpireEntry]) -> (Vec<Vec<String>>, Vec<String>) {
        let Bound { instead, lost } = Parents::of(entries).bound(entries.last().unwrap(), SERVER);
        let texts = |one: &BTreeSet<Selector>| one.iter().map(ToString::to_string).collect();
        (instead.iter().map(texts).collect(), lost)
    }

    fn alias(path: &str, selectors: &[&str]) -> SpireEntry {
        entry(path, "/spire/server", selectors)
    }

    #[test]
    fn the_name_of_a_node_stands_in_for_an_alias_of_it_through_any_number_of_entries() {
        let node = "k8s_psat:agent_node_name:n1";
        let pod = entry("/agent/a", "/fleet", &["k8s:ns:a"]);
        let instead = vec![vec!["k8s:node-name:n1".to_owned()]];
        assert_eq!(told(&[alias("/fleet", &[node]), pod.clone()]), (instead.clone(), vec![]));
        let both = alias("/fleet", &[node, "k8s_psat:cluster:prod"]);
        assert_eq!(
            told(&[both, pod.clone()]),
            (instead.clone(), vec!["k8s_psat:cluster:prod".to_owned()])
        );
        let below = entry("/middle", "/fleet", &["unix:uid:1"]);
        let pod = entry("/agent/a", "/middle", &["k8s:ns:a"]);
        assert_eq!(told(&[alias("/fleet", &[node]), below, pod]), (instead, vec![]));
    }

    #[test]
    fn an_entry_for_several_groups_of_nodes_is_one_for_each_or_for_none() {
        let one = alias("/fleet", &["k8s_psat:agent_node_name:n1"]);
        let other = alias("/fleet", &["k8s_psat:agent_node_name:n2"]);
        let narrower =
            alias("/fleet", &["k8s_psat:agent_node_name:n1", "k8s_psat:agent_node_name:n3"]);
        let pod = entry("/agent/a", "/fleet", &["k8s:ns:a"]);
        let (instead, lost) = told(&[narrower, one.clone(), other, pod.clone()]);
        assert_eq!(instead, [["k8s:node-name:n1"], ["k8s:node-name:n2"]]);
        assert!(lost.is_empty());
        // One of which nothing of a process tells: written for the other alone, it would be for fewer.
        let cluster = alias("/fleet", &["k8s_psat:cluster:prod"]);
        let (instead, lost) = told(&[one, cluster, pod.clone()]);
        assert_eq!(instead, [Vec::<String>::new()]);
        assert_eq!(lost, ["k8s_psat:agent_node_name:n1", "k8s_psat:cluster:prod"]);
        let many = |count: usize| {
            let aliases =
                (0..count).map(|n| alias("/fleet", &[&format!("k8s_psat:agent_node_name:n{n}")]));
            told(&aliases.chain([pod.clone()]).collect::<Vec<_>>()).0.len()
        };
        assert_eq!((many(MAX_WAYS), many(MAX_WAYS + 1)), (MAX_WAYS, 1));
    }

    #[test]
    fn what_is_no_pod_and_what_leads_nowhere_or_in_a_circle_is_bound_to_nothing() {
        let fleet = alias("/fleet", &["k8s_psat:agent_node_name:n1"]);
        let (instead, lost) = told(&[fleet, entry("/a", "/fleet", &["unix:user:a"])]);
        assert_eq!((instead.len(), lost), (1, vec!["k8s_psat:agent_node_name:n1".to_owned()]));
        let node = "/spire/agent/k8s_psat/prod/5f1e";
        let (_, lost) = told(&[entry("/a", node, &["k8s:ns:a"])]);
        assert_eq!(lost, [format!("spiffe://example.org{node}")]);
        let circle = [entry("/b", "/a", &["k8s:ns:b"]), entry("/a", "/b", &["k8s:ns:a"])];
        let (instead, lost) = told(&circle);
        assert_eq!((instead, lost.len()), (vec![vec![]], 1));
    }
}
