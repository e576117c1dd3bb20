//! What kind of a run a seed makes: not every one has everything, since faults hide each other.

use fastrand::Rng;

/// See the file. Chances are per step, of a million.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) founders: u64,
    /// How long there are faults.
    pub(crate) steps: u64,
    pub(crate) pre_vote: bool,
    pub(crate) check_quorum: bool,
    pub(crate) snapshot_entries: u64,
    pub(crate) catch_up_entries: u64,
    pub(crate) segment_bytes: u64,
    /// Of those a member may let go of.
    pub(crate) kept_segments: usize,
    /// Whether syncs of disks do nothing.
    pub(crate) disks_lie: bool,
    pub(crate) sync_steps_max: u64,
    pub(crate) snapshot_steps_max: u64,
    pub(crate) load: u32,
    pub(crate) reads: u32,
    /// Whether clients prefer one member for a while.
    pub(crate) favours: bool,
    pub(crate) changes: u32,
    pub(crate) elections: u32,
    pub(crate) crashes: u32,
    pub(crate) crashes_of_all: u32,
    pub(crate) stops: u32,
    pub(crate) disk_errors: u32,
    pub(crate) pauses: u32,
    pub(crate) cuts: u32,
    pub(crate) partitions: u32,
    pub(crate) delays: u32,
    /// The longest a member is down, in steps.
    pub(crate) down_steps_max: u64,
}

impl Plan {
    pub(crate) fn of(random: &mut Rng, disks_lie: bool) -> Self {
        let founders = if random.u32(..5) == 0 { 5 } else { 3 };
        let mut sometimes = |of_five: u32, chance: u32| {
            if random.u32(..5) < of_five { chance } else { 0 }
        };
        let (changes, elections) = (sometimes(3, 8_000), sometimes(3, 3_000));
        let (crashes, crashes_of_all) = (sometimes(4, 6_000), sometimes(2, 1_500));
        let (stops, disk_errors) = (sometimes(2, 2_000), sometimes(2, 3_000));
        let (pauses, cuts) = (sometimes(3, 3_000), sometimes(4, 10_000));
        let (partitions, delays) = (sometimes(3, 4_000), sometimes(3, 6_000));
        let mut one_of = |values: &[u64]| values[random.usize(..values.len())];
        Self {
            founders,
            steps: 2_000,
            pre_vote: one_of(&[0, 1, 1, 1]) == 1,
            check_quorum: one_of(&[0, 1, 1, 1]) == 1,
            snapshot_entries: one_of(&[20, 20, 60, 10_000]),
            catch_up_entries: one_of(&[1, 5, 40]),
            segment_bytes: one_of(&[4 << 10, 16 << 10, 64 << 10]),
            kept_segments: usize::try_from(one_of(&[1, 1, 5])).unwrap(),
            disks_lie,
            sync_steps_max: one_of(&[0, 1, 4]),
            snapshot_steps_max: one_of(&[0, 20, 100]),
            load: u32::try_from(one_of(&[50_000, 150_000, 400_000])).unwrap(),
            reads: u32::try_from(one_of(&[20_000, 100_000])).unwrap(),
            favours: one_of(&[0, 1]) == 1,
            changes,
            elections,
            crashes,
            crashes_of_all,
            stops,
            disk_errors,
            pauses,
            cuts,
            partitions,
            delays,
            down_steps_max: one_of(&[50, 200, 800]),
        }
    }
}
