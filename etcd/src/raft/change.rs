//! Changes of the configuration, in etcd's form and in raft-rs's.
//!
//! | | etcd | raft-rs |
//! |---|---|---|
//! | add a voter | 0 | 0 |
//! | remove | 1 | 1 |
//! | change addresses | 2 | not there |
//! | add a learner | 3 | 2 |
//!
//! In the log and on the wire stands etcd's form. raft-rs reads an entry's data only where a leader is
//! given it to propose, so what is proposed here carries raft-rs's form as its data and etcd's as its
//! context ([`Envelope`](super::Envelope)); what was received is etcd's in its data, and is translated
//! when it is applied.
//!
//! A change of several members at once is a `ConfChangeV2`, which etcd's members, all of 3.4 to 3.7, do
//! not know and end at: it is for clusters without any. etcd's own changes of one member are
//! `ConfChange`s, and so are these.

use super::envelope::wire_entry;
use bytes::Bytes;
use raft::eraftpb;
use raftwire::error::DecodeError;
use raftwire::raftpb::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, Dialect,
    Wire as _,
};
use raftwire::transport::{MemberId, PeerUrl};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A change of who is in the cluster, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A new member, which votes.
    AddVoter {
        /// Its id, which no member has or ever had.
        id: MemberId,
        /// Where it is reached.
        urls: Vec<PeerUrl>,
    },
    /// A new member, which only learns.
    AddLearner {
        /// Its id, which no member has or ever had.
        id: MemberId,
        /// Where it is reached.
        urls: Vec<PeerUrl>,
    },
    /// A learner is to vote.
    Promote {
        /// Which.
        id: MemberId,
    },
    /// A member is reached elsewhere.
    Update {
        /// Which.
        id: MemberId,
        /// Where.
        urls: Vec<PeerUrl>,
    },
    /// A member goes, for good.
    Remove {
        /// Which.
        id: MemberId,
    },
    /// Several of the others at once. From then on both the configuration before and the one after have
    /// to agree, until [`LeaveJoint`](Self::LeaveJoint). Members of etcd end at it.
    Joint(Vec<Self>),
    /// The configuration before a [`Joint`](Self::Joint) has no say any more.
    LeaveJoint,
}

/// Why an entry that says it changes the configuration is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeError {
    /// Not the protobuf message it should be.
    Malformed(DecodeError),
    /// A kind nobody knows.
    Kind(i32),
    /// Its context is not the JSON it should be.
    Context(String),
    /// An address in it is none.
    Url(String),
    /// Joint changes hold changes of one member each.
    Nested,
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "malformed: {error}"),
            Self::Kind(kind) => write!(f, "no kind of change has number {kind}"),
            Self::Context(error) => write!(f, "the context: {error}"),
            Self::Url(error) => write!(f, "an address: {error}"),
            Self::Nested => f.write_str("a joint change inside a joint change"),
        }
    }
}

impl std::error::Error for ChangeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Malformed(error) => Some(error),
            _ => None,
        }
    }
}

/// An entry to propose.
pub(crate) struct Proposal {
    pub(crate) entry: eraftpb::Entry,
    /// A joint change in which nobody's vote changes: raft takes it for the leaving of one.
    pub(crate) is_nothing: bool,
}

/// A change that was committed.
#[derive(Debug)]
pub(crate) struct Step {
    /// Who asked for it.
    pub(crate) request: u64,
    /// What raft-rs is told, unless it was refused.
    pub(crate) native: Option<eraftpb::ConfChangeV2>,
    /// What becomes of members.
    pub(crate) changes: Vec<Change>,
}

/// etcd's JSON of a member.
#[derive(Debug, Default, Serialize, Deserialize)]
struct MemberJson {
    id: u64,
    #[serde(rename = "peerURLs", default)]
    peer_urls: Option<Vec<String>>,
    #[serde(rename = "isLearner", default, skip_serializing_if = "std::ops::Not::not")]
    is_learner: bool,
    #[serde(rename = "isPromote", default, skip_serializing_if = "std::ops::Not::not")]
    is_promote: bool,
}

/// The context of a joint change, which is only ours: a member for each change, in their order.
#[derive(Debug, Default, Serialize, Deserialize)]
struct JointJson {
    #[serde(default)]
    request: u64,
    #[serde(default)]
    members: Vec<MemberJson>,
}

/// Makes the entry that proposes `change` for `request`.
pub(crate) fn proposal(request: u64, change: &Change) -> Result<Proposal, ChangeError> {
    let mut entry = eraftpb::Entry::default();
    let mut is_nothing = false;
    let (etcds, native) = match change {
        Change::Joint(_) | Change::LeaveJoint => {
            entry.set_entry_type(eraftpb::EntryType::EntryConfChangeV2);
            let v2 = joint(request, change)?;
            let native = native_of_v2(&v2)?;
            is_nothing = native.changes.is_empty() && *change != Change::LeaveJoint;
            (v2.encode(Dialect::V3_6), protobuf::Message::write_to_bytes(&native))
        }
        _ => {
            entry.set_entry_type(eraftpb::EntryType::EntryConfChange);
            let (single, member) = single(change)?;
            let context = match change {
                Change::Remove { .. } => None,
                _ => Some(json(&member)),
            };
            let v1 = ConfChange {
                id: request,
                change_type: single.change_type,
                node_id: single.node_id,
                context,
            };
            (v1.encode(Dialect::V3_6), native_bytes_of_v1(&v1))
        }
    };
    // Nothing of what is written here can be refused: no required fields, no nesting.
    entry.data = native.unwrap_or_default().into();
    entry.context = etcds.into();
    Ok(Proposal { entry, is_nothing })
}

/// Makes an entry a peer proposed into one a leader may step: as [`proposal`]'s.
pub(crate) fn adopt(entry: &mut eraftpb::Entry) -> Result<(), ChangeError> {
    let data = entry.data.clone();
    let native = match entry.entry_type {
        eraftpb::EntryType::EntryNormal => return Ok(()),
        eraftpb::EntryType::EntryConfChange => {
            let v1 = ConfChange::decode(&data).map_err(ChangeError::Malformed)?;
            effect(v1.change_type, v1.node_id, v1.context.as_ref())?;
            native_bytes_of_v1(&v1)
        }
        eraftpb::EntryType::EntryConfChangeV2 => {
            let v2 = ConfChangeV2::decode(&data).map_err(ChangeError::Malformed)?;
            protobuf::Message::write_to_bytes(&read_v2(&v2)?.0)
        }
    };
    entry.data = native.unwrap_or_default().into();
    entry.context = data;
    Ok(())
}

/// Reads an entry that was committed and changes the configuration.
pub(crate) fn step_of(entry: &eraftpb::Entry) -> Result<Step, ChangeError> {
    let data = wire_entry(entry).data.cloned().unwrap_or_default();
    if entry.entry_type == eraftpb::EntryType::EntryConfChange {
        let v1 = ConfChange::decode(&data).map_err(ChangeError::Malformed)?;
        let change = effect(v1.change_type, v1.node_id, v1.context.as_ref())?;
        let native = native_kind(v1.change_type)?.map(|kind| {
            let mut native = eraftpb::ConfChangeV2::default();
            native.mut_changes().push(native_single(kind, v1.node_id));
            native
        });
        return Ok(Step { request: v1.id, native, changes: change.into_iter().collect() });
    }
    let v2 = ConfChangeV2::decode(&data).map_err(ChangeError::Malformed)?;
    let (native, request, changes) = read_v2(&v2)?;
    Ok(Step { request, native: Some(native), changes })
}

/// What a joint change is to raft-rs, who asked for it, and what becomes of members.
fn read_v2(v2: &ConfChangeV2) -> Result<(eraftpb::ConfChangeV2, u64, Vec<Change>), ChangeError> {
    let context: JointJson = match v2.context.as_deref() {
        None | Some([]) => JointJson::default(),
        Some(context) => parse(context)?,
    };
    let mut changes = Vec::new();
    for (position, single) in v2.changes.iter().enumerate() {
        let member = context.members.get(position).filter(|member| member.id == single.node_id);
        changes.extend(effect_of(single.change_type, single.node_id, member)?);
    }
    Ok((native_of_v2(v2)?, context.request, changes))
}

fn single(change: &Change) -> Result<(ConfChangeSingle, MemberJson), ChangeError> {
    let (change_type, id, urls) = match change {
        Change::AddVoter { id, urls } => (ConfChangeType::ADD_NODE, id, Some(urls)),
        Change::AddLearner { id, urls } => (ConfChangeType::ADD_LEARNER_NODE, id, Some(urls)),
        Change::Promote { id } => (ConfChangeType::ADD_NODE, id, None),
        Change::Update { id, urls } => (ConfChangeType::UPDATE_NODE, id, Some(urls)),
        Change::Remove { id } => (ConfChangeType::REMOVE_NODE, id, None),
        Change::Joint(_) | Change::LeaveJoint => return Err(ChangeError::Nested),
    };
    let member = MemberJson {
        id: id.0,
        peer_urls: urls.map(|urls| urls.iter().map(PeerUrl::to_string).collect()),
        is_learner: matches!(change, Change::AddLearner { .. }),
        is_promote: matches!(change, Change::Promote { .. }),
    };
    Ok((ConfChangeSingle { change_type, node_id: id.0 }, member))
}

fn joint(request: u64, change: &Change) -> Result<ConfChangeV2, ChangeError> {
    let changes = match change {
        Change::Joint(changes) => &changes[..],
        _ => &[],
    };
    let parts = changes.iter().map(single).collect::<Result<Vec<_>, _>>()?;
    let (changes, members): (Vec<_>, _) = parts.into_iter().unzip();
    let transition = match changes.len() {
        0 => ConfChangeTransition::AUTO,
        _ => ConfChangeTransition::JOINT_EXPLICIT,
    };
    let context = Some(json(&JointJson { request, members }));
    Ok(ConfChangeV2 { transition, changes, context })
}

/// What a change does to a member. `None`: nothing, as etcd's of nobody.
fn effect(
    kind: ConfChangeType,
    id: u64,
    context: Option<&Bytes>,
) -> Result<Option<Change>, ChangeError> {
    let member: Option<MemberJson> = match context.map(|context| &context[..]) {
        None | Some([]) => None,
        Some(context) => Some(parse(context)?),
    };
    effect_of(kind, id, member.as_ref())
}

fn effect_of(
    kind: ConfChangeType,
    id: u64,
    member: Option<&MemberJson>,
) -> Result<Option<Change>, ChangeError> {
    if id == 0 {
        return Ok(None);
    }
    let id = MemberId(id);
    let urls = || -> Result<Vec<PeerUrl>, ChangeError> {
        let urls = member.and_then(|member| member.peer_urls.as_deref()).unwrap_or_default();
        urls.iter()
            .map(|url| url.parse().map_err(|error| ChangeError::Url(format!("{url}: {error}"))))
            .collect()
    };
    Ok(Some(match kind {
        ConfChangeType::ADD_NODE if member.is_some_and(|member| member.is_promote) => {
            Change::Promote { id }
        }
        ConfChangeType::ADD_NODE => Change::AddVoter { id, urls: urls()? },
        ConfChangeType::ADD_LEARNER_NODE => Change::AddLearner { id, urls: urls()? },
        ConfChangeType::UPDATE_NODE => Change::Update { id, urls: urls()? },
        ConfChangeType::REMOVE_NODE => Change::Remove { id },
        other => return Err(ChangeError::Kind(other.0)),
    }))
}

fn json(value: &impl Serialize) -> Bytes {
    // Numbers, strings and lists: nothing JSON cannot hold.
    serde_json::to_vec(value).unwrap_or_default().into()
}

fn parse<'a, T: Deserialize<'a>>(context: &'a [u8]) -> Result<T, ChangeError> {
    serde_json::from_slice(context).map_err(|error| ChangeError::Context(error.to_string()))
}

/// `None`: raft-rs has nothing to do.
fn native_kind(kind: ConfChangeType) -> Result<Option<eraftpb::ConfChangeType>, ChangeError> {
    Ok(Some(match kind {
        ConfChangeType::ADD_NODE => eraftpb::ConfChangeType::AddNode,
        ConfChangeType::REMOVE_NODE => eraftpb::ConfChangeType::RemoveNode,
        ConfChangeType::ADD_LEARNER_NODE => eraftpb::ConfChangeType::AddLearnerNode,
        ConfChangeType::UPDATE_NODE => return Ok(None),
        other => return Err(ChangeError::Kind(other.0)),
    }))
}

fn native_single(kind: eraftpb::ConfChangeType, id: u64) -> eraftpb::ConfChangeSingle {
    eraftpb::ConfChangeSingle { change_type: kind, node_id: id, ..Default::default() }
}

fn native_bytes_of_v1(v1: &ConfChange) -> protobuf::ProtobufResult<Vec<u8>> {
    let mut native = eraftpb::ConfChange::default();
    // Of an update and of what nobody knows: nobody is added, which is a change all the same.
    if let Ok(Some(kind)) = native_kind(v1.change_type) {
        native.change_type = kind;
        native.node_id = v1.node_id;
    }
    protobuf::Message::write_to_bytes(&native)
}

fn native_of_v2(v2: &ConfChangeV2) -> Result<eraftpb::ConfChangeV2, ChangeError> {
    let transition = match v2.transition {
        ConfChangeTransition::AUTO => eraftpb::ConfChangeTransition::Auto,
        ConfChangeTransition::JOINT_EXPLICIT => eraftpb::ConfChangeTransition::Explicit,
        ConfChangeTransition(1) => eraftpb::ConfChangeTransition::Implicit,
        other => return Err(ChangeError::Kind(other.0)),
    };
    let mut native = eraftpb::ConfChangeV2 { transition, ..Default::default() };
    for single in &v2.changes {
        if let Some(kind) = native_kind(single.change_type)? {
            native.mut_changes().push(native_single(kind, single.node_id));
        }
    }
    Ok(native)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls() -> Vec<PeerUrl> {
        vec!["http://127.0.0.1:2380".parse().unwrap()]
    }

    fn all() -> Vec<Change> {
        let (id, urls) = (MemberId(u64::MAX - 1), urls());
        vec![
            Change::AddVoter { id, urls: urls.clone() },
            Change::AddLearner { id, urls: urls.clone() },
            Change::Promote { id },
            Change::Update { id, urls },
            Change::Remove { id },
        ]
    }

    /// What a leader's raft-rs reads, which must not be what etcd reads.
    fn native(entry: &eraftpb::Entry) -> eraftpb::ConfChange {
        protobuf::Message::parse_from_bytes(&entry.data).unwrap()
    }

    #[test]
    fn gives_back_what_was_proposed_from_etcds_form() {
        for change in all() {
            let entry = proposal(7, &change).unwrap().entry;
            let step = step_of(&entry).unwrap();
            assert_eq!((step.request, step.changes), (7, vec![change]));
        }
        let joint = Change::Joint(all());
        let step = step_of(&proposal(7, &joint).unwrap().entry).unwrap();
        assert_eq!((step.request, &step.changes), (7, &all()));
        let native = step.native.unwrap();
        assert_eq!(native.transition, eraftpb::ConfChangeTransition::Explicit);
        // The update is not raft's.
        assert_eq!(native.changes.len(), 4);
        let leave = step_of(&proposal(8, &Change::LeaveJoint).unwrap().entry).unwrap();
        assert!(leave.native.unwrap().changes.is_empty());
        assert!(leave.changes.is_empty());
    }

    #[test]
    fn numbers_learners_as_etcd_does_on_the_wire_and_as_raft_rs_does_inside() {
        let learner = Change::AddLearner { id: MemberId(5), urls: urls() };
        let entry = proposal(1, &learner).unwrap().entry;
        let etcds = ConfChange::decode(&entry.context).unwrap();
        assert_eq!((etcds.change_type.0, etcds.node_id), (3, 5));
        assert_eq!(native(&entry).change_type, eraftpb::ConfChangeType::AddLearnerNode);
        assert_eq!(protobuf::ProtobufEnum::value(&native(&entry).change_type), 2);
        let text = str::from_utf8(etcds.context.as_ref().unwrap()).unwrap();
        assert_eq!(text, r#"{"id":5,"peerURLs":["http://127.0.0.1:2380"],"isLearner":true}"#);
    }

    #[test]
    fn proposes_an_update_as_a_change_of_nobody() {
        let update = Change::Update { id: MemberId(5), urls: urls() };
        let entry = proposal(1, &update).unwrap().entry;
        assert_eq!(native(&entry).node_id, 0);
        assert!(step_of(&entry).unwrap().native.is_none());
    }

    #[test]
    fn promotes_with_etcds_context() {
        let entry = proposal(1, &Change::Promote { id: MemberId(5) }).unwrap().entry;
        let etcds = ConfChange::decode(&entry.context).unwrap();
        let text = str::from_utf8(etcds.context.as_ref().unwrap()).unwrap();
        assert_eq!(text, r#"{"id":5,"peerURLs":null,"isPromote":true}"#);
    }

    #[test]
    fn adopts_what_a_peer_proposed() {
        for change in all() {
            let proposed = proposal(7, &change).unwrap().entry;
            let mut received = proposed.clone();
            received.data = std::mem::take(&mut received.context);
            adopt(&mut received).unwrap();
            assert_eq!(received, proposed);
        }
        let mut normal = eraftpb::Entry { data: "x".into(), ..Default::default() };
        adopt(&mut normal).unwrap();
        assert_eq!(&normal.data[..], b"x");
    }

    #[test]
    fn refuses_what_is_no_change() {
        let mut entry = eraftpb::Entry::default();
        entry.set_entry_type(eraftpb::EntryType::EntryConfChange);
        for (v1, expected) in [
            (ConfChange { change_type: ConfChangeType(9), node_id: 1, ..Default::default() }, "9"),
            (
                ConfChange { node_id: 1, context: Some("{".into()), ..Default::default() },
                "the context",
            ),
            (
                ConfChange {
                    node_id: 1,
                    context: Some(r#"{"id":1,"peerURLs":["ftp://x"]}"#.into()),
                    ..Default::default()
                },
                "ftp://x",
            ),
        ] {
            entry.data = v1.encode(Dialect::V3_6).into();
            let error = adopt(&mut entry.clone()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(step_of(&entry).is_err());
        }
        entry.data = Bytes::from_static(&[0xff]);
        assert!(matches!(adopt(&mut entry), Err(ChangeError::Malformed(_))));
        let nested = Change::Joint(vec![Change::LeaveJoint]);
        assert!(matches!(proposal(1, &nested), Err(ChangeError::Nested)));
    }
}
