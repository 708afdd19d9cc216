//! The pages that explain errors.

use insta::assert_snapshot;

use crate::support::Server;

#[test]
fn every_code_has_its_page() {
    let server = Server::bare();
    assert_snapshot!("page", server.get("/errors/br0208").shown());
    let index = server.get("/errors").text();
    for code in backroom::domain::code::CATALOGUE {
        assert!(index.contains(&format!("href=\"/errors/{}\"", code.name)));
        let page = server.get(&format!("/errors/{}", code.name));
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    }
}
