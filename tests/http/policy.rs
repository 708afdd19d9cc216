//! What the operator allows, checked at submit and again at every hop.

use backroom::domain::failure::ErrorClass;
use backroom::domain::id::{PluginName, TenantId, VersionName};
use backroom::domain::limits::Limits;
use backroom::domain::outbound::http_plugin;
use backroom::domain::plugin::Wishes;
use backroom::jobs::NewJob;
use backroom::registry::Upload;
use serde_json::json;

use crate::world::{World, failure};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_called_is_refused_at_submit() {
    let world = World::start().await;
    for (more, message) in [
        (json!({ "url": "https://elsewhere.example/x" }), "https://elsewhere.example is not granted to `http`"),
        (json!({ "url": "http://127.0.0.1:1/" }), "http://127.0.0.1:1 is not granted to `http`"),
        (json!({ "url": "/ok" }), "`url` is not acceptable: it must be absolute"),
        (json!({ "headers": {"Host": "x"} }), "`headers` has `Host`, which the host writes itself"),
        (json!({ "methd": "GET" }), "unknown field `methd`"),
    ] {
        let refused = world.refusal(world.call("/ok", more)).await.to_string();
        assert!(refused.contains(message), "{refused}");
    }
    let refused = world.refusal(NewJob::new(http_plugin(), "")).await.to_string();
    assert!(refused.contains("needs an input"), "{refused}");
    assert!(world.seen.requests.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_to_this_machine_is_not_called() {
    // The resolver reads `127.1` as 127.0.0.1, but as a grant it is a name like any other.
    let world = World::with(Limits::default(), &["http://127.1:PORT"]).await;
    let url = format!("http://127.1:{}/ok", world.address.port());
    let job = world.run(world.call("", json!({ "url": url }))).await;
    let why = failure(&job);
    assert_eq!((why.class, why.code.as_deref()), (ErrorClass::UserFixable, Some("BR0603")), "{why:?}");
    assert!(why.message.contains("leads to 127.0.0.1"), "{}", why.message);
    // The address itself is granted in this world, so that nothing is left to allow.
    assert!(why.message.ends_with(&format!("Call http://{} itself", world.address)), "{}", why.message);
    assert!(world.seen.requests.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_uploads_switches_or_removes_it() {
    let world = World::start().await;
    let registry = &world.host.registry;
    let upload = Upload {
        tenant: TenantId::DEFAULT,
        name: PluginName::new("http").expect("a name"),
        version: VersionName::new("1.0.0").expect("a version"),
        bytes: bytes::Bytes::from_static(b"\0asm\x0d\0\x01\0"),
        wishes: Wishes::default(),
    };
    let refused = registry.upload(upload).await.expect_err("the name is taken").to_string();
    assert!(refused.contains("`http` is built into the host"), "{refused}");
    let refused =
        registry.disable(TenantId::DEFAULT, &http_plugin()).await.expect_err("there is no switch").to_string();
    assert!(refused.contains("`http` is built into the host"), "{refused}");
    assert!(registry.list(TenantId::DEFAULT).is_empty());
}
