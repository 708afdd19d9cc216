//! What the host writes is nobody else's business: every file and folder of a data directory, and what is made of it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::host::Host;
use super::program::run_in;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

/// How many files and folders there are, each of which only its owner may use.
fn all_private(path: &Path) -> usize {
    let is_folder = path.is_dir();
    let wanted = if is_folder { 0o700 } else { 0o600 };
    assert_eq!(format!("{:o}", mode(path)), format!("{wanted:o}"), "{}", path.display());
    let inside = is_folder.then(|| std::fs::read_dir(path).expect("it can be read"));
    1 + inside.into_iter().flatten().map(|entry| all_private(&entry.expect("an entry").path())).sum::<usize>()
}

#[test]
fn only_its_owner_may_look_into_what_a_host_has_written() {
    let mut host = Host::start();
    host.upload("echo");
    let large = format!("{{\"a\": \"{}\"}}", "x".repeat(20_000));
    host.run(&["run", "echo", &large]).done();
    host.run(&["token", "create", "admin", "--rights", "admin"]).done();
    let data = host.folder().join("data");
    assert!(all_private(&data) > 12, "journal, index, blobs, compiled code");
    host.end_in_order();
    all_private(&data);

    let backup = host.folder().join("nightly");
    run_in(host.folder(), &["store", "backup", "nightly", "--data", "data"]).done();
    assert_eq!(all_private(&backup), 1);
    run_in(host.folder(), &["store", "restore", "nightly", "--data", "other"]).done();
    assert!(all_private(&host.folder().join("other")) > 6);
}

#[test]
fn what_an_interrupted_backup_has_left_open_is_shut() {
    let folder = super::store::folder();
    let left = folder.path().join("nightly.partial");
    std::fs::write(&left, "left").expect("it can be written");
    std::fs::set_permissions(&left, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    run_in(folder.path(), &["store", "backup", "nightly", "--data", "data"]).done();
    assert_eq!(format!("{:o}", mode(&folder.path().join("nightly"))), "600");
}

#[test]
fn doctor_warns_of_settings_with_secrets_that_others_may_read() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let settings = folder.path().join("backroom.toml");
    std::fs::write(&settings, "[server]\ntoken = \"0123456789abcdef\"\n").expect("it can be written");
    let says = |mode| {
        std::fs::set_permissions(&settings, std::fs::Permissions::from_mode(mode)).expect("it is ours");
        run_in(folder.path(), &["doctor"]).out
    };
    assert!(says(0o640).contains("chmod 600 backroom.toml"));
    assert!(!says(0o600).contains("chmod 600"));
}
