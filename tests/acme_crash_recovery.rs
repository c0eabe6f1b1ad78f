//! SIGKILL at each step of an ACME order, before and after the authority carried the step out: after the restart the
//! order is finished, and no certificate is issued twice.

use crate::rig::acme_installation::{AcmeInstallation, AcmeOptions};
use crate::rig::authority::{Authority, Fault, Resource};

const NAME: &str = "phone.example.test";

async fn killed_at(resource: Resource, fault: Fault) {
    let authority = Authority::start().await;
    let what = format!("{resource:?}, {fault:?}");
    authority.fail(resource, fault);
    let mut ordering = AcmeInstallation::new(&AcmeOptions {
        public_url: "https://phone.example.test",
        directories: &[authority.directory()],
        trust: authority.root(),
        https_port: 0,
        redirect_port: None,
        acme: "",
        more: "",
    });
    ordering.start();
    authority.stalled().await;
    ordering.kill();
    ordering.start();
    ordering.until_served(NAME, "Scripted Authority").await;
    assert_eq!(authority.bought(), 1, "{what}");
    assert!(ordering.problems(NAME).is_empty(), "{what}: {:?}", ordering.problems(NAME));
    // The certificate that is served is the one that was bought, with its key.
    let log = ordering.log();
    assert!(!log.contains("panic"), "{what}: {log}");
}

macro_rules! steps {
    ($($name:ident: $resource:ident;)*) => {$(
        #[tokio::test]
        async fn $name() {
            for fault in [Fault::StallBefore, Fault::StallAfter] {
                killed_at(Resource::$resource, fault).await;
            }
        }
    )*};
}

steps! {
    at_the_directory: Directory;
    at_the_first_nonce: NewNonce;
    while_the_account_is_registered: NewAccount;
    while_the_order_is_placed: NewOrder;
    while_its_authorizations_are_read: Authorization;
    while_a_challenge_is_accepted: Challenge;
    while_the_order_is_looked_after: Order;
    while_it_is_finalized: Finalize;
    while_the_certificate_is_fetched: Certificate;
    while_the_renewal_window_is_asked_for: RenewalInfo;
}
