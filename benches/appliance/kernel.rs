//! What the kernel knows of a process.

use std::fs;

/// On the processor, over all threads that live now.
pub fn cpu_nanoseconds(processes: &[u32]) -> f64 {
    let mut total = 0.0;
    for process in processes {
        for task in fs::read_dir(format!("/proc/{process}/task")).unwrap() {
            let path = task.unwrap().path().join("schedstat");
            let text = fs::read_to_string(path).unwrap_or_default();
            total += text.split(' ').next().and_then(|first| first.parse::<f64>().ok()).unwrap_or(0.0);
        }
    }
    total
}

pub fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Of all these processes; what several share counts once.
pub fn proportional_kib(processes: &[u32]) -> f64 {
    let of_one = |process: &u32| {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap()
    };
    processes.iter().map(of_one).sum()
}

/// For as many sockets as the administrator allows at all.
pub fn raise_file_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all).unwrap();
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
