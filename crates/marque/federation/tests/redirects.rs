//! Where a redirect may lead.

use super::endpoint::{Answer, Endpoint, of};
use super::{Own, document_of, partner, server_id, spiffe, web};

#[tokio::test]
async fn fe_5_a_redirect_is_followed_and_not_remembered() {
    let (first, second) = (Endpoint::web().await, Endpoint::web().await);
    // Both are believed.
    let ca_file = first.ca_file.with_file_name("both.pem");
    let both = [&first.ca_file, &second.ca_file].map(|file| std::fs::read_to_string(file).unwrap());
    std::fs::write(&ca_file, both.concat()).unwrap();
    first.answer("/bundle", Answer::Redirect("/moved".to_owned()));
    first.answer("/moved", Answer::Redirect(second.url("/bundle")));
    second.document(document_of(&partner(), 2, 300));
    let run = Own::new().start(&web(&first.url("/bundle"), &ca_file), &[]);
    run.refresh().await.unwrap();
    run.refresh().await.unwrap();
    assert_eq!(first.asked(), ["/bundle", "/moved", "/bundle", "/moved"]);
    assert_eq!(second.asked(), ["/bundle"; 2]);
    assert_eq!(run.sequence(), Some(2));
}

#[tokio::test]
async fn fe_5_a_redirect_to_http_to_user_info_or_to_nowhere_is_refused() {
    let endpoint = Endpoint::web().await;
    endpoint.answer("/good", Answer::Document(document_of(&partner(), 2, 300)));
    let run = Own::new().start(&web(&endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    let authority = format!("localhost:{}", endpoint.port);
    for (location, expected) in [
        (format!("http://{authority}/good"), "does not begin with https://"),
        (format!("https://user:secret@{authority}/good"), "has user info"),
        (format!("//{authority}/good"), "does not begin with https://"),
        ("good".to_owned(), "does not begin with https://"),
        (String::new(), "does not begin with https://"),
    ] {
        endpoint.answer("/bundle", Answer::Redirect(location.clone()));
        let said = run.refused().await;
        assert!(said.contains(expected), "{location}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
    assert!(endpoint.asked().iter().all(|path| path == "/bundle"));
}

#[tokio::test]
async fn fe_5_three_redirects_are_followed_and_a_fourth_or_a_loop_is_refused() {
    let endpoint = Endpoint::web().await;
    let run = Own::new().start(&web(&endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    for (from, to) in [("/bundle", "/2"), ("/2", "/3"), ("/3", "/4")] {
        endpoint.answer(from, Answer::Redirect(to.to_owned()));
    }
    endpoint.answer("/4", Answer::Document(document_of(&partner(), 2, 300)));
    run.refresh().await.unwrap();
    endpoint.answer("/4", Answer::Redirect("/5".to_owned()));
    endpoint.answer("/5", Answer::Document(document_of(&partner(), 3, 300)));
    let said = run.refused().await;
    assert!(said.contains("redirected more than 3 times"), "{said}");
    assert!(!endpoint.asked().contains(&"/5".to_owned()));
    endpoint.answer("/bundle", Answer::Redirect("/bundle".to_owned()));
    let before = endpoint.asked().len();
    let said = run.refused().await;
    assert!(said.contains("redirected more than 3 times"), "{said}");
    assert_eq!(endpoint.asked().len() - before, 4);
}

#[tokio::test]
async fn fe_5_where_a_redirect_leads_has_to_prove_the_same_spiffe_id() {
    let partner = partner();
    let id = server_id(&partner);
    let (first, second) = (of(&partner).await, of(&partner).await);
    first.answer("/bundle", Answer::Redirect(second.url("/bundle")));
    second.document(document_of(&partner, 2, 300));
    let run = Own::new().start(&spiffe(&first.url("/bundle"), &id), &[partner.bundle()]);
    second.show(&partner.x509_svid(&partner.id("/somebody-else")));
    let said = run.refused().await;
    assert!(said.contains("SomebodyElse"), "{said}");
    // A certificate that the web would believe is worth nothing here either.
    let web = Endpoint::web().await;
    web.document(document_of(&partner, 2, 300));
    first.answer("/bundle", Answer::Redirect(web.url("/bundle")));
    let said = run.refused().await;
    assert!(said.contains("invalid peer certificate"), "{said}");
    second.show(&partner.x509_svid(&id));
    first.answer("/bundle", Answer::Redirect(second.url("/bundle")));
    run.refresh().await.unwrap();
    assert_eq!(run.sequence(), Some(2));
}

#[tokio::test]
async fn fe_5_a_redirect_to_another_host_is_refused_unless_the_folder_names_it() {
    let endpoint = Endpoint::web().await;
    let elsewhere = format!("https://127.0.0.1:{}/moved", endpoint.port);
    endpoint.answer("/bundle", Answer::Redirect(elsewhere));
    endpoint.answer("/moved", Answer::Document(document_of(&partner(), 2, 300)));
    let text = web(&endpoint.url("/bundle"), &endpoint.ca_file);
    let said = Own::new().start(&text, &[]).refused().await;
    assert!(said.contains("`127.0.0.1`, another host"), "{said}");
    // The host of a redirect was not reviewed as a private one.
    let named = "[bundle_fetching]\nredirect_hosts = [\"127.0.0.1\"]\n";
    let said = Own::new().start(&format!("{named}{text}"), &[]).refused().await;
    assert!(said.contains("not on the public internet"), "{said}");
    assert!(!endpoint.asked().contains(&"/moved".to_owned()));
    let named = format!("{named}private_addresses = [\"127.0.0.1\"]\n");
    let run = Own::new().start(&format!("{named}{text}"), &[]);
    run.refresh().await.unwrap();
    assert_eq!(run.sequence(), Some(2));
}
