//! What is packed by hand as it is written since format 6: today's code reads it, and writes the same. Values by themselves
//! are looked after in [`crate::stored`].

use super::codec::{self, Record, Stored, block, bucket};
use super::journal::frame;
use crate::domain::change::Change;
use crate::domain::id::{HostId, JobKey, Sequence, TenantId};
use crate::domain::job::JobState;
use crate::domain::time::Timestamp;
use crate::stored::Registry;
use crate::stored::golden::{self as files, bytes_of, hex};
use crate::stored::samples::*;

/// The bytes of a golden file.
fn golden(name: &str) -> Vec<u8> {
    bytes_of(&files::golden(&format!("{name}.f6.hex"), None))
}

/// Panics with what is written today when that is something else.
fn assert_golden(name: &str, today: &[u8]) {
    files::golden(&format!("{name}.f6.hex"), Some(&hex(today)));
}

/// The fields of a value, without its family and version.
fn fields<T: Stored>(value: &T) -> Vec<u8> {
    codec::encode(value).split_off(codec::HEAD)
}

#[test]
fn a_block_of_submissions_is_written_and_read_as_ever() {
    let members = [fields(&submission(12)), Vec::new(), fields(&submission(14))];
    let mut value = block::start(block::Kind::Fresh);
    members.iter().for_each(|member| block::push(&mut value, member));
    assert_golden("submission-block", &value);
    let golden = golden("submission-block");
    let (kind, entries) = block::read(&golden).expect("it can be read");
    assert_eq!((kind, entries.len()), (block::Kind::Fresh, 3));
    assert_eq!(codec::read_submission(entries[2]), Ok(submission(14)));
}

#[test]
fn a_bucket_of_outcomes_is_written_and_read_as_ever() {
    let ended = fields(&state());
    let entries = [(1, bucket::Entry::Ended(&ended)), (2, bucket::Entry::Elsewhere), (15, bucket::Entry::Gone)];
    let mut value = bucket::start();
    entries.iter().for_each(|(offset, entry)| bucket::push(&mut value, *offset, *entry));
    assert_golden("outcome-bucket", &value);
    assert_eq!(bucket::read(&golden("outcome-bucket")).as_deref(), Ok(&entries[..]));
}

#[test]
fn a_journal_frame_is_written_and_read_as_ever() {
    let job = JobKey { tenant: TenantId(3), sequence: Sequence(12) };
    let changes = [
        Change::Submit(submission(12).into(), JobState::default().into()),
        Change::Submit(submission(13).into(), state().into()),
        Change::Advance { job, expected: 0, next: state().into(), earlier_run: None },
        Change::Advance { job, expected: 300, next: state().into(), earlier_run: Some(run()) },
        Change::Delete { job, expected: 301 },
        Change::put(remembered()),
        Change::put(plugin()),
        Change::remove(&plugin()),
        Change::Load(std::sync::Arc::new(audit_row())),
        Change::put(service()),
        Change::StartHost(HostId(8)),
        Change::put(broken_key()),
    ];
    let families = Registry::standard();
    let mut bytes = Vec::new();
    frame::start(&mut bytes);
    for change in &changes {
        codec::append_change(&mut bytes, change, &families);
    }
    codec::append_sequence(&mut bytes, 65_536);
    codec::append_host(&mut bytes, 9);
    frame::seal(&mut bytes, 42, 41, Timestamp(0));
    assert_golden("journal-frame", &bytes);
    let golden = golden("journal-frame");
    let frame = frame::at(&golden, 0).expect("it is whole");
    assert_eq!((frame.lsn, frame.durable, frame.end), (42, 41, golden.len()));
    let records = codec::read_records(&golden[frame.payload], &families).expect("it can be read").all;
    let mut wanted: Vec<_> = changes.into_iter().map(Record::Change).collect();
    wanted.extend([Record::Sequence(65_536), Record::Host(9)]);
    assert_eq!(records.into_iter().map(|(record, _)| record).collect::<Vec<_>>(), wanted);
}
