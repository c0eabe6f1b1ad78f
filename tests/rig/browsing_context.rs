//! One page or frame of a browser, used as a person would: controls are found
//! by role and accessible name, pressed with a pointer, filled by keys.

use serde_json::{Value, json};
use thirtyfour::bidi::modules::browsing_context::{BrowsingContextInfo, LocateNodes, Locator, ReadinessState};
use thirtyfour::bidi::modules::script::EvaluateResult;
use thirtyfour::bidi::{BiDi, BrowsingContextId};

use super::wait::until;

#[derive(Clone, Debug)]
pub struct BrowsingContext {
    bidi: BiDi,
    context: BrowsingContextId,
}

/// A node in a document. Stale after the document re-rendered it.
#[derive(Clone, Debug)]
pub struct Node(Value);

/// Inbound audio of one `RTCPeerConnection`; measured by `preload.js`.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub struct InboundAudio {
    /// `RTCPeerConnection.connectionState`.
    pub state: String,
    /// Packets that arrived and left.
    pub received: u64,
    pub sent: u64,
    /// `totalAudioEnergy` of what arrived.
    pub energy: f64,
    /// The loudest frequency that arrives, in Hz; 0 for silence.
    pub pitch: f64,
    /// A media element plays it aloud.
    pub plays: bool,
}

/// A frame that the page's WebSocket sent: when (ms since the epoch) and the first line.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct SentMessage {
    pub at: f64,
    pub line: String,
}

impl BrowsingContext {
    pub fn new(bidi: BiDi, context: BrowsingContextId) -> Self {
        Self { bidi, context }
    }

    pub fn context(&self) -> &BrowsingContextId {
        &self.context
    }

    /// The frame inside this page whose address contains `part`, once it is there.
    pub async fn frame(&self, part: &str) -> BrowsingContext {
        let context = until(&format!("a frame at {part}"), async || {
            let tree = self.tree().await?;
            find_frame(&tree, part).ok_or_else(|| format!("{:?}", urls(&tree)))
        })
        .await;
        BrowsingContext::new(self.bidi.clone(), context)
    }

    /// The phone's frame.
    pub async fn phone(&self) -> BrowsingContext {
        self.frame("/webphone/").await
    }

    /// Number of frames below this page.
    pub async fn frames(&self) -> usize {
        urls(&self.tree().await.unwrap()).len() - 1
    }

    async fn tree(&self) -> Result<Vec<BrowsingContextInfo>, String> {
        let contexts = self.bidi.browsing_context();
        let tree = contexts.get_tree(Some(self.context.clone())).await;
        tree.map(|t| t.contexts).map_err(|e| e.to_string())
    }

    /// The value of a JavaScript expression (a promise is awaited) as JSON.
    pub async fn try_eval(&self, expression: &str) -> Result<Value, String> {
        let function = format!("async () => JSON.stringify(await ({expression})) ?? 'null'");
        let done =
            self.bidi.script().call_function(self.context.clone(), function, true).await.map_err(|e| e.to_string())?;
        match done {
            EvaluateResult::Success { result, .. } => {
                let text = result["value"].as_str().unwrap_or("null");
                serde_json::from_str(text).map_err(|e| e.to_string())
            }
            EvaluateResult::Exception { exception_details, .. } => {
                Err(format!("{expression}: {}", exception_details["text"]))
            }
        }
    }

    pub async fn eval(&self, expression: &str) -> Value {
        self.try_eval(expression).await.unwrap_or_else(|e| panic!("{e}"))
    }

    /// Waits until the expression is true, whatever truthy value that is.
    pub async fn until(&self, expression: &str) -> Value {
        until(expression, async || {
            let value = self.try_eval(expression).await?;
            match value {
                Value::Null | Value::Bool(false) => Err(value.to_string()),
                ref v if v.as_str() == Some("") || v.as_f64() == Some(0.0) => Err(v.to_string()),
                value => Ok(value),
            }
        })
        .await
    }

    /// The text a person sees.
    pub async fn text(&self) -> String {
        let text = self.try_eval("document.body?.innerText ?? ''").await;
        text.map_or_else(|e| e, |t| t.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until `words` stand somewhere on the page.
    pub async fn sees(&self, words: &str) {
        until(&format!("{words:?} to be seen"), async || {
            let text = self.text().await;
            if text.contains(words) { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// [`Self::sees`], whether or not it begins a sentence.
    pub async fn sees_in_any_case(&self, words: &str) {
        until(&format!("{words:?} to be seen"), async || {
            let text = self.text().await;
            if text.to_lowercase().contains(&words.to_lowercase()) { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// All visible controls with this role and accessible name.
    pub async fn all(&self, role: &str, name: &str) -> Result<Vec<Node>, String> {
        let found = self
            .bidi
            .send(LocateNodes {
                context: self.context.clone(),
                locator: Locator::accessibility(Some(role.into()), Some(name.into())),
                max_node_count: None,
                serialization_options: Some(json!({ "maxDomDepth": 0 })),
                start_nodes: None,
            })
            .await
            .map_err(|e| e.to_string())?;
        let mut visible = Vec::new();
        for node in found.nodes {
            let node = Node(node);
            if self.call(&node, "e => e.checkVisibility({ visibilityProperty: true })").await? == true {
                visible.push(node);
            }
        }
        Ok(visible)
    }

    /// The control with this role and accessible name, once it is there.
    pub async fn find(&self, role: &str, name: &str) -> Node {
        until(&format!("{role} {name:?}"), async || match self.all(role, name).await?.as_slice() {
            [node] => Ok(node.clone()),
            [] => Err(format!("none in:\n{}", self.text().await)),
            several => Err(format!("{} of them", several.len())),
        })
        .await
    }

    /// Waits until there is no such control any more.
    pub async fn gone(&self, role: &str, name: &str) {
        until(&format!("{role} {name:?} to go"), async || match self.all(role, name).await?.len() {
            0 => Ok(()),
            n => Err(format!("{n} left in:\n{}", self.text().await)),
        })
        .await;
    }

    /// Presses the control with a pointer, in its middle.
    pub async fn click(&self, role: &str, name: &str) {
        until(&format!("{role} {name:?} to be pressed"), async || {
            let nodes = self.all(role, name).await?;
            let [node] = nodes.as_slice() else {
                return Err(format!("{} of them in:\n{}", nodes.len(), self.text().await));
            };
            // As a person does: look for it, and wait while it cannot be used or moves.
            let usable = "async e => {
                e.scrollIntoView({ block: 'nearest', inline: 'nearest' });
                const box = () => { const r = e.getBoundingClientRect(); return [r.x, r.y, r.width, r.height].join(); };
                const before = box();
                await new Promise((r) => setTimeout(r, 40));
                if (e.disabled || e.ariaDisabled === 'true') return 'disabled';
                if (before !== box()) return 'moving';
                const r = e.getBoundingClientRect();
                const top = e.getRootNode().elementFromPoint(r.x + r.width / 2, r.y + r.height / 2);
                return e === top || e.contains(top) ? '' : `covered by ${top?.outerHTML.slice(0, 200)}`;
            }";
            let blocked = self.call(node, usable).await?;
            if blocked != "" {
                return Err(blocked.to_string());
            }
            self.press(node).await
        })
        .await;
    }

    /// Replaces what stands in a text field by typing.
    pub async fn fill(&self, role: &str, name: &str, text: &str) {
        self.click(role, name).await;
        let node = self.find(role, name).await;
        self.call(&node, "e => e.select?.()").await.unwrap();
        let mut keys = vec!['\u{e003}']; // Backspace
        keys.extend(text.chars());
        self.keys(&keys).await;
        until(&format!("{name:?} to hold the text"), async || {
            let value = self.call(&node, "e => e.value").await?;
            if value == text { Ok(()) } else { Err(value.to_string()) }
        })
        .await;
    }

    /// Presses a button by its name, from a script: Firefox finds no controls by role.
    pub async fn press_by_script(&self, name: &str) {
        self.does_by_script("button", name, "e.click()").await;
    }

    /// Fills a text field by its name, from a script.
    pub async fn fill_by_script(&self, name: &str, text: &str) {
        let done = format!("e.value = '{text}', e.dispatchEvent(new InputEvent('input', {{ bubbles: true }}))");
        self.does_by_script("input", name, &done).await;
    }

    async fn does_by_script(&self, tag: &str, name: &str, done: &str) {
        let script = format!(
            "(() => {{
                const e = [...document.querySelectorAll('{tag}:not([disabled])')]
                    .find((b) => b.checkVisibility() && [b.ariaLabel, b.innerText].some((n) => n?.trim() === '{name}'));
                if (e) {{ {done}; }}
                return !e;
            }})()"
        );
        until(&format!("a {tag} {name:?}"), async || match self.try_eval(&script).await {
            Ok(missing) if missing == false => Ok(()),
            other => Err(format!("{other:?} in:\n{}", self.text().await)),
        })
        .await;
    }

    /// Chooses a file in the field of this name, without the browser's own dialog.
    pub async fn chooses_file(&self, name: &str, file: &std::path::Path) {
        self.sees(name).await;
        // Chromium gives such a field no role of its own.
        let field = LocateNodes {
            context: self.context.clone(),
            locator: Locator::css(format!("input[type=file][aria-label='{name}']")),
            max_node_count: None,
            serialization_options: None,
            start_nodes: None,
        };
        let found = self.bidi.send(field).await.unwrap();
        let element = json!({ "sharedId": found.nodes[0]["sharedId"] });
        let files = json!({ "context": self.context.as_str(), "element": element, "files": [file] });
        self.bidi.send_raw("input.setFiles", files).await.unwrap();
    }

    /// Types into whatever has the focus. Special keys have code points, e.g. `'\u{e007}'` for Enter.
    pub async fn keys(&self, keys: &[char]) {
        let actions: Vec<Value> = keys
            .iter()
            .flat_map(|key| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })])
            .collect();
        let source = json!({ "id": "keys", "type": "key", "actions": actions });
        let typed = self.bidi.input();
        typed.perform_actions(self.context.clone(), vec![source]).await.unwrap();
    }

    /// A property of the control as JSON, e.g. `value`, `ariaPressed`.
    pub async fn property(&self, role: &str, name: &str, property: &str) -> Value {
        let node = self.find(role, name).await;
        self.call(&node, &format!("e => e.{property} ?? null")).await.unwrap()
    }

    /// Waits until a toggle button shows itself pressed, or not.
    pub async fn pressed(&self, name: &str, wanted: bool) {
        let wanted = wanted.to_string();
        until(&format!("{name:?} to be pressed={wanted}"), async || {
            let nodes = self.all("button", name).await?;
            let [node] = nodes.as_slice() else {
                return Err(format!("{} of them in:\n{}", nodes.len(), self.text().await));
            };
            let seen = self.call(node, "e => e.getAttribute('aria-pressed')").await?;
            if seen == wanted { Ok(()) } else { Err(seen.to_string()) }
        })
        .await;
    }

    /// Loads the document again and waits for it.
    pub async fn reload(&self) {
        let reload = json!({ "context": self.context.as_str(), "wait": "complete" });
        self.bidi.send_raw("browsingContext.reload", reload).await.unwrap();
    }

    /// Leaves for another address in the same window.
    pub async fn goes_to(&self, url: &str) {
        let done = self.bidi.browsing_context();
        done.navigate(self.context.clone(), url, Some(ReadinessState::Complete)).await.unwrap();
    }

    /// The browser's "Back" button.
    pub async fn goes_back(&self) {
        let back = json!({ "context": self.context.as_str(), "delta": -1 });
        self.bidi.send_raw("browsingContext.traverseHistory", back).await.unwrap();
    }

    pub async fn close(self) {
        self.bidi.browsing_context().close(self.context).await.unwrap();
    }

    /// Every connection of this page or frame that is connecting or connected. A prepared offer's connection does not
    /// count.
    pub async fn heard(&self) -> Result<Vec<InboundAudio>, String> {
        let heard = self.try_eval("__rig.hear()").await?;
        let heard: Vec<InboundAudio> = serde_json::from_value(heard).map_err(|e| e.to_string())?;
        Ok(heard.into_iter().filter(|h| h.state != "new").collect())
    }

    /// Waits until exactly one connection is up and `hz` arrives and is played:
    /// packets and energy grow, and the loudest frequency is this one.
    pub async fn hears(&self, hz: u32) -> InboundAudio {
        let mut last: Option<InboundAudio> = None;
        until(&format!("a tone of {hz} Hz to arrive"), async || {
            let all = self.heard().await?;
            let seen = format!("{all:?}");
            let [now] = all.as_slice() else { return Err(seen) };
            let before = last.replace(now.clone()).unwrap_or_default();
            let grows = now.received > before.received && now.energy > before.energy;
            let right = (now.pitch - f64::from(hz)).abs() < 15.0;
            if before.received > 0 && grows && right && now.plays && now.sent > 0 { Ok(now.clone()) } else { Err(seen) }
        })
        .await
    }

    /// Of several calls: waits until the one that brings a tone of `hz` is heard, and no other.
    pub async fn hears_only(&self, hz: u32) {
        self.hears_each(&[hz]).await;
    }

    /// Waits until one call for each of these tones is heard, and no other.
    pub async fn hears_each(&self, tones: &[u32]) {
        until(&format!("{tones:?} Hz and nothing else to be heard"), async || {
            let all = self.heard().await?;
            let audible: Vec<&InboundAudio> = all.iter().filter(|h| h.plays && h.pitch > 0.0).collect();
            let brings = |hz: &u32| audible.iter().any(|h| (h.pitch - f64::from(*hz)).abs() < 15.0);
            let fits = audible.len() == tones.len() && tones.iter().all(brings);
            if fits { Ok(()) } else { Err(format!("{all:?}")) }
        })
        .await;
    }

    /// Waits until no connection is heard, whatever it brings.
    pub async fn plays_nothing(&self) {
        until("nothing to be heard", async || {
            let all = self.heard().await?;
            if all.iter().any(|h| h.plays && h.pitch > 0.0) { Err(format!("{all:?}")) } else { Ok(()) }
        })
        .await;
    }

    /// Waits until no audio energy has arrived for one second.
    pub async fn hears_silence(&self) {
        let mut since = tokio::time::Instant::now();
        let mut energy = f64::MAX;
        until("silence", async || {
            let all = self.heard().await?;
            let now: f64 = all.iter().map(|h| h.energy).sum();
            if (now - energy).abs() > 1e-6 {
                energy = now;
                since = tokio::time::Instant::now();
            }
            if since.elapsed().as_secs_f64() > 1.0 { Ok(()) } else { Err(format!("{all:?}")) }
        })
        .await;
    }

    /// What this frame's own web sockets have sent.
    pub async fn sent(&self) -> Vec<SentMessage> {
        serde_json::from_value(self.eval("__rig.sent").await).unwrap()
    }

    /// Moves the pointer over the control without pressing.
    pub async fn points_at(&self, role: &str, name: &str) {
        let node = self.find(role, name).await;
        self.point(&node, &[]).await.unwrap();
    }

    async fn press(&self, node: &Node) -> Result<(), String> {
        let button = |step: &str| json!({ "type": step, "button": 0 });
        self.point(node, &[button("pointerDown"), button("pointerUp")]).await
    }

    async fn point(&self, node: &Node, then: &[Value]) -> Result<(), String> {
        let origin = json!({ "type": "element", "element": { "sharedId": node.0["sharedId"] } });
        let mut steps = vec![json!({ "type": "pointerMove", "x": 0, "y": 0, "origin": origin })];
        steps.extend_from_slice(then);
        let actions = json!({
            "id": "mouse",
            "type": "pointer",
            "parameters": { "pointerType": "mouse" },
            "actions": steps,
        });
        let done = self.bidi.input();
        done.perform_actions(self.context.clone(), vec![actions]).await.map_err(|e| e.to_string())
    }

    /// The JSON value of `function(node)`.
    pub async fn call(&self, node: &Node, function: &str) -> Result<Value, String> {
        let function = format!("async (e) => JSON.stringify(await ({function})(e)) ?? 'null'");
        let done = self
            .bidi
            .send_raw(
                "script.callFunction",
                json!({
                    "functionDeclaration": function,
                    "awaitPromise": true,
                    "target": { "context": self.context.as_str() },
                    "arguments": [{ "sharedId": node.0["sharedId"] }],
                }),
            )
            .await
            .map_err(|e| e.to_string())?;
        match done["result"]["value"].as_str() {
            Some(text) => serde_json::from_str(text).map_err(|e| e.to_string()),
            None => Err(done.to_string()),
        }
    }
}

fn find_frame(all: &[BrowsingContextInfo], part: &str) -> Option<BrowsingContextId> {
    all.iter().find_map(|info| {
        let inside = info.children.iter().find(|c| c.url.contains(part));
        inside.map(|c| c.context.clone()).or_else(|| find_frame(&info.children, part))
    })
}

fn urls(all: &[BrowsingContextInfo]) -> Vec<String> {
    all.iter().flat_map(|info| std::iter::once(info.url.clone()).chain(urls(&info.children))).collect()
}
