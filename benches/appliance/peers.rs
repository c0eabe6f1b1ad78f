//! The peers: nginx from Debian, which serves the bytes as a static file, and Express from the npm
//! registry, which looks them up in a map, both over TLS with the bench directory's certificate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::appliance::wait_until;
use crate::bench_directory::BenchDirectory;
use crate::kernel::free_port;

/// A configuration of nginx that waits to be started.
pub struct NginxConfiguration {
    address: String,
    directory: TempDir,
}

impl NginxConfiguration {
    pub fn spawn(self) -> Nginx {
        let root = self.directory.path();
        let child = Command::new("nginx")
            .arg("-e")
            .arg(root.join("error.log"))
            .arg("-c")
            .arg(root.join("nginx.conf"))
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx is installed (package nginx-light)");
        Nginx { child, address: self.address, _directory: self.directory }
    }
}

pub struct Nginx {
    child: Child,
    pub address: String,
    _directory: TempDir,
}

impl Nginx {
    pub fn start(bench_directory: &BenchDirectory, body: &[u8], file_cache: bool) -> Self {
        let nginx = Self::prepare(bench_directory, body, file_cache).spawn();
        nginx.wait();
        nginx
    }

    /// Everything but the start itself, which is measured.
    pub fn prepare(bench_directory: &BenchDirectory, body: &[u8], file_cache: bool) -> NginxConfiguration {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let address = format!("127.0.0.1:{}", free_port());
        fs::create_dir(root.join("www")).unwrap();
        fs::write(root.join("www/config.json"), body).unwrap();
        fs::set_permissions(root, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let cache = if file_cache { "open_file_cache max=100; open_file_cache_valid 60s;" } else { "" };
        let text = format!(
            "daemon off; worker_processes auto; pid {dir}/pid; error_log {dir}/error.log;
             events {{ worker_connections 4096; }}
             http {{
                 access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; {cache}
                 types {{ application/json json; }}
                 client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};
                 uwsgi_temp_path {dir}; scgi_temp_path {dir};
                 server {{
                     listen {address} ssl http2; root {dir}/www;
                     ssl_certificate {bench_directory}/cert.pem; ssl_certificate_key {bench_directory}/key.pem;
                     ssl_protocols TLSv1.2 TLSv1.3;
                     add_header Cache-Control 'private, no-store'; add_header Vary Origin;
                 }}
             }}",
            dir = root.display(),
            bench_directory = bench_directory.temp.path().display(),
        );
        fs::write(root.join("nginx.conf"), text).unwrap();
        NginxConfiguration { address, directory }
    }

    /// Workers come a moment after the master.
    fn wait(&self) {
        wait_until("nginx", || std::net::TcpStream::connect(&self.address).ok());
    }

    /// Master and workers.
    pub fn processes(&self) -> Vec<u32> {
        let master = self.child.id();
        wait_until("nginx's workers", || {
            let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).ok()?;
            let workers: Vec<u32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
            (!workers.is_empty()).then(|| workers.into_iter().chain([master]).collect())
        })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        let _ = self.child.wait();
    }
}

/// A Node server as its handbook writes one: a route, a map, `res.json`.
pub struct Express {
    child: Child,
    pub address: String,
}

impl Express {
    /// With one entry per key, all with this configuration.
    pub fn start(bench_directory: &BenchDirectory, keys: &[String], body: &[u8]) -> Self {
        let root = express();
        let address = format!("127.0.0.1:{}", free_port());
        let data = bench_directory.temp.path().join("express");
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("keys"), keys.join("\n")).unwrap();
        fs::write(data.join("config.json"), body).unwrap();
        let port = address.rsplit_once(':').unwrap().1;
        let child = Command::new("node")
            .current_dir(&root)
            .arg("server.js")
            .arg(bench_directory.temp.path())
            .arg(port)
            .env("NODE_ENV", "production")
            .stdin(Stdio::null())
            .spawn()
            .expect("node is installed (package npm)");
        wait_until("Express", || std::net::TcpStream::connect(&address).ok());
        Self { child, address }
    }

    pub fn processes(&self) -> Vec<u32> {
        vec![self.child.id()]
    }
}

impl Drop for Express {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Express with the server below, made once.
fn express() -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("express");
    if !root.join("node_modules/express").exists() {
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("package.json"), "{}").unwrap();
        println!("Fetching Express {EXPRESS} from the npm registry");
        let status = Command::new("npm")
            .current_dir(&root)
            .args(["install", "--no-fund", "--no-audit", "--silent", &format!("express@{EXPRESS}")])
            .status()
            .expect("npm is installed (package npm)");
        assert!(status.success(), "npm: {status}");
    }
    fs::write(root.join("server.js"), SERVER).unwrap();
    root
}

const EXPRESS: &str = "5.3.0";
const SERVER: &str = "
const [, , root, port] = process.argv;
const fs = require('fs');
const https = require('https');
const express = require('express');

const text = fs.readFileSync(`${root}/express/config.json`, 'utf8');
const keys = fs.readFileSync(`${root}/express/keys`, 'utf8').split('\\n');
const configurations = new Map(keys.map((key) => [key, JSON.parse(text)]));

const app = express();
app.get('/api/webphone/config', (request, response) => {
    const found = configurations.get(request.query.key);
    if (!found) return response.status(401).json({ ok: false });
    response.set({ 'Cache-Control': 'private, no-store', Vary: 'Origin' }).json(found);
});
const tls = { cert: fs.readFileSync(`${root}/cert.pem`), key: fs.readFileSync(`${root}/key.pem`) };
const server = https.createServer(tls, app);
server.keepAliveTimeout = 600000;
server.listen(Number(port), '127.0.0.1');
";
