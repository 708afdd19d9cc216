//! `backroom token`: hand out rights, use them, take them back; across a restart.

use insta::assert_snapshot;

use super::host::Host;
use super::live::steadied;
use super::program::Ran;

const FAR: &str = "2099-01-01T00:00:00Z";

fn secret(made: &Ran) -> String {
    let line = made.out.lines().find(|line| line.starts_with("secret")).expect("the secret is shown");
    line.split_whitespace().last().expect("a secret").to_owned()
}

#[test]
fn f006_a_token_opens_what_it_is_made_for_across_a_restart() {
    let mut host = Host::start();
    host.upload("echo");
    let made = host.run(&["token", "create", "admin", "--rights", "admin"]);
    assert_eq!(made.code, 0, "{}", made.whole());
    let admin = secret(&made);
    let as_admin = |host: &Host, args: &[&str]| host.run(&[args, &["--token", &admin]].concat());
    let shop = secret(&as_admin(&host, &["token", "create", "shop", "--rights", "submit,read:own,write:own"]));
    let auditor = secret(&as_admin(&host, &["token", "create", "auditor", "--rights", "read", "--expires", FAR]));
    steadied(|| {
        assert_snapshot!("token_create", made.whole().replace(&admin, "[secret]"));
        assert_snapshot!("token_list", as_admin(&host, &["token", "list"]).whole());
        assert_snapshot!("token_asked_for", host.run(&["job", "list"]).whole());
    });

    host.restart();
    let with = |secret: &str, args: &[&str]| host.run(&[args, &["--token", secret]].concat());
    let id = with(&shop, &["job", "submit", "echo", "--text", "x", "--at", FAR]).done().trim().to_owned();
    assert!(with(&shop, &["job", "show", &id]).done().contains("owner"), "it says whose it is");
    steadied(|| {
        assert_snapshot!("token_cannot_write", with(&auditor, &["job", "cancel", &id]).whole());
        assert_snapshot!("token_cannot_administer", with(&shop, &["plugin", "disable", "echo"]).whole());
    });
    let of_admin = as_admin(&host, &["job", "submit", "echo", "--text", "y", "--at", FAR]).done().trim().to_owned();
    let unknown = with(&shop, &["job", "show", &of_admin]);
    assert!(unknown.code == 2 && unknown.err.contains("there is no job"), "{}", unknown.whole());
    let listed = with(&shop, &["job", "list", "--json"]).done();
    assert!(listed.contains(&id) && !listed.contains(&of_admin), "{listed}");
    assert!(with(&auditor, &["job", "list", "--owner", "shop", "--json"]).done().contains(&id));
    with(&shop, &["job", "cancel", &id]).done();
    assert!(with(&auditor, &["service", "status"]).done().contains("running"));

    as_admin(&host, &["token", "revoke", "shop"]).done();
    let revoked = with(&shop, &["job", "list"]);
    assert!(revoked.code == 1 && revoked.err.contains("BR0114"), "{}", revoked.whole());
}
