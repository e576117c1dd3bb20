//! The open enums of raftpb: a number as the wire carries it, with names for those that are known.
//!
//! They are structs, not Rust enums, because a newer peer may send a number this version has no
//! name for, and that number must survive decoding and encoding.

use std::fmt;

macro_rules! open_enum {
    (
        $(#[$meta:meta])*
        $type:ident { $( $(#[$variant_meta:meta])* $constant:ident = $number:literal, $name:literal; )* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub i32);

        impl $type {
            $( $(#[$variant_meta])* pub const $constant: Self = Self($number); )*

            /// Returns the name etcd gives this number, or `None` if it has none.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $( $number => Some($name), )*
                    _ => None,
                }
            }

            /// Finds a number by the name etcd gives it.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $( $name => Some(Self::$constant), )*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => fmt::Display::fmt(&self.0, f),
                }
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

open_enum! {
    /// What a message is for.
    MessageType {
        /// Local: start an election.
        HUP = 0, "MsgHup";
        /// Local: send heartbeats.
        BEAT = 1, "MsgBeat";
        /// A proposal, forwarded to the leader.
        PROP = 2, "MsgProp";
        /// Entries to append: the only type the `msgappv2` stream carries.
        APP = 3, "MsgApp";
        /// The answer to `MsgApp`.
        APP_RESP = 4, "MsgAppResp";
        /// A candidate's request.
        VOTE = 5, "MsgVote";
        /// The answer to `MsgVote`.
        VOTE_RESP = 6, "MsgVoteResp";
        /// A snapshot.
        SNAP = 7, "MsgSnap";
        /// A leader's heartbeat; from member 0 to member 0 it is a link heartbeat.
        HEARTBEAT = 8, "MsgHeartbeat";
        /// The answer to `MsgHeartbeat`.
        HEARTBEAT_RESP = 9, "MsgHeartbeatResp";
        /// Local: a member was not reached.
        UNREACHABLE = 10, "MsgUnreachable";
        /// Local: how sending a snapshot ended.
        SNAP_STATUS = 11, "MsgSnapStatus";
        /// Local: the leader looks for its quorum.
        CHECK_QUORUM = 12, "MsgCheckQuorum";
        /// A request to hand leadership over.
        TRANSFER_LEADER = 13, "MsgTransferLeader";
        /// The order to campaign at once.
        TIMEOUT_NOW = 14, "MsgTimeoutNow";
        /// A linearizable read's request for the commit index.
        READ_INDEX = 15, "MsgReadIndex";
        /// The answer to `MsgReadIndex`.
        READ_INDEX_RESP = 16, "MsgReadIndexResp";
        /// A candidate's request before it raises its term.
        PRE_VOTE = 17, "MsgPreVote";
        /// The answer to `MsgPreVote`.
        PRE_VOTE_RESP = 18, "MsgPreVoteResp";
        /// Local: to the append thread (raft 3.6).
        STORAGE_APPEND = 19, "MsgStorageAppend";
        /// Local: from the append thread (raft 3.6).
        STORAGE_APPEND_RESP = 20, "MsgStorageAppendResp";
        /// Local: to the apply thread (raft 3.6).
        STORAGE_APPLY = 21, "MsgStorageApply";
        /// Local: from the apply thread (raft 3.6).
        STORAGE_APPLY_RESP = 22, "MsgStorageApplyResp";
        /// Local: forget the leader (raft 3.6).
        FORGET_LEADER = 23, "MsgForgetLeader";
    }
}

open_enum! {
    /// What an entry's data is.
    EntryType {
        /// The state machine's.
        NORMAL = 0, "EntryNormal";
        /// A `ConfChange`.
        CONF_CHANGE = 1, "EntryConfChange";
        /// A `ConfChangeV2`.
        CONF_CHANGE_V2 = 2, "EntryConfChangeV2";
    }
}

open_enum! {
    /// What a membership change does. raft-rs gives 2 to learners: see the `raft-rs` feature.
    ConfChangeType {
        /// Adds a voter, or promotes a learner.
        ADD_NODE = 0, "ConfChangeAddNode";
        /// Removes a member.
        REMOVE_NODE = 1, "ConfChangeRemoveNode";
        /// Changes what is known of a member, not the quorum.
        UPDATE_NODE = 2, "ConfChangeUpdateNode";
        /// Adds a learner.
        ADD_LEARNER_NODE = 3, "ConfChangeAddLearnerNode";
    }
}

open_enum! {
    /// How a membership change passes through joint consensus.
    ConfChangeTransition {
        /// Joint only where it must be.
        AUTO = 0, "ConfChangeTransitionAuto";
        /// Joint, left by itself.
        JOINT_IMPLICIT = 1, "ConfChangeTransitionJointImplicit";
        /// Joint, left by an entry of its own.
        JOINT_EXPLICIT = 2, "ConfChangeTransitionJointExplicit";
    }
}
