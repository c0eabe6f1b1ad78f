//! Errors as `application/problem+json` (RFC 9457) on request.

use crate::installation::{Installation, PANEL_KEY};

#[tokio::test]
async fn every_error_is_problem_json_when_accept_asks_for_it() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    let faulty = r#"{"tenantId":"acme","uiUrl":"x"}"#;
    for (method, path, body, status, code) in [
        ("PATCH", "/api/tenant/config", faulty, 400, "VALIDATION_ERROR"),
        ("GET", "/api/tenant?tenantId=nobody", "", 404, "TENANT_NOT_FOUND"),
        ("GET", "/api/nowhere", "", 404, "NOT_FOUND"),
        ("PUT", "/api/tenant", "", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/api/webphone/config", "", 401, "WEBPHONE_MISSING_KEY"),
        ("GET", "/nowhere", "", 404, "NOT_FOUND"),
        ("DELETE", "/webphone/loader.js", "", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/sip", "", 426, "UPGRADE_REQUIRED"),
    ] {
        let headers =
            [("x-bitcall-panel-key", PANEL_KEY), ("accept", "application/problem+json"), ("x-request-id", "mine-1")];
        let answer = bitcall.send(method, path, &headers, body).await;
        let problem = answer.json();
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{method} {path}");
        assert_eq!(answer.headers["x-request-id"], "mine-1", "{method} {path}");
        assert_eq!((answer.status.as_u16(), &problem["status"]), (status, &status.into()), "{method} {path}");
        assert_eq!(problem["code"], code);
        assert_eq!(problem["type"], format!("urn:bitcall:error:{code}"));
        assert_eq!(problem["instance"], "urn:bitcall:request:mine-1");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        assert_eq!(problem.get("ok"), None);
        assert_eq!(problem["fields"].is_array(), code == "VALIDATION_ERROR");
        assert_eq!(answer.headers.contains_key("allow"), status == 405, "{method} {path}");

        let usual = bitcall.send(method, path, &[headers[0], ("accept", "*/*")], body).await;
        assert_eq!(usual.headers["content-type"], "application/json");
        assert_eq!(usual.json()["error"]["code"], code);
        assert_eq!(usual.json()["error"]["message"], problem["detail"]);
    }
}

#[tokio::test]
async fn a_success_is_never_problem_json() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    let headers = [("x-bitcall-panel-key", PANEL_KEY), ("accept", "application/problem+json")];
    let answer = bitcall.send("GET", "/api/tenant?tenantId=acme", &headers, "").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["ok"]), (200, &true.into()));
}
