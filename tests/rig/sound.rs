//! Pure tones: made for fake microphones, recognised in recordings.

use std::f64::consts::TAU;
use std::path::Path;
use std::process::Command;

/// Samples per second of everything written here.
pub const RATE: u32 = 48_000;

/// Writes two seconds of a sine of `hz` as a mono 16-bit WAV file. The length
/// is a whole number of periods for every whole `hz`, so a player that loops
/// the file makes no click.
pub fn write_tone(path: &Path, hz: u32) {
    std::fs::write(path, tone(hz)).unwrap();
}

/// The file that [`write_tone`] writes.
pub fn tone(hz: u32) -> Vec<u8> {
    let samples: Vec<i16> = (0..RATE * 2)
        .map(|n| {
            let phase = TAU * f64::from(hz) * f64::from(n) / f64::from(RATE);
            #[expect(clippy::cast_possible_truncation, reason = "bounded by the factor")]
            let sample = (phase.sin() * 12_000.0) as i16;
            sample
        })
        .collect();
    wav(&samples)
}

/// The same tone as a file of the format that `ending` stands for, made by ffmpeg.
pub fn encoded_tone(hz: u32, ending: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let (plain, encoded) = (directory.path().join("tone.wav"), directory.path().join(format!("encoded.{ending}")));
    write_tone(&plain, hz);
    let made = Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(&plain).arg(&encoded).output().unwrap();
    assert!(made.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&made.stderr));
    std::fs::read(encoded).unwrap()
}

/// The share of a recording's energy that lies at `hz`, from 0 to 1 (Goertzel).
/// 0 for silence.
pub fn share_at(samples: &[i16], rate: u32, hz: f64) -> f64 {
    let total: f64 = samples.iter().map(|s| f64::from(*s).powi(2)).sum();
    if total == 0.0 {
        return 0.0;
    }
    let turn = TAU * hz / f64::from(rate);
    let (mut a, mut b) = (0.0, 0.0);
    for s in samples {
        (a, b) = (f64::from(*s) + 2.0 * turn.cos() * a - b, a);
    }
    let power = a * a + b * b - 2.0 * turn.cos() * a * b;
    #[expect(clippy::cast_precision_loss, reason = "a recording of seconds")]
    let n = samples.len() as f64;
    2.0 * power / (n * total)
}

/// PCMU (ITU-T G.711).
pub fn mu_law(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let size = sample.unsigned_abs().min(32_635) + 132;
    let segment = 8 - size.leading_zeros();
    let [step, _] = ((size >> (segment + 3)) & 0x0f).to_le_bytes();
    let [segment, ..] = segment.to_le_bytes();
    !(sign | segment << 4 | step)
}

/// The sample that a byte of PCMU stands for.
pub fn from_mu_law(byte: u8) -> i16 {
    let byte = !byte;
    let size = ((i16::from(byte & 0x0f) << 3) + 132) << ((byte >> 4) & 7);
    if byte & 0x80 == 0 { size - 132 } else { 132 - size }
}

fn wav(samples: &[i16]) -> Vec<u8> {
    let length = u32::try_from(samples.len() * 2).unwrap();
    let mut out = Vec::with_capacity(samples.len() * 2 + 44);
    out.extend(b"RIFF");
    out.extend((36 + length).to_le_bytes());
    out.extend(b"WAVEfmt ");
    out.extend(16_u32.to_le_bytes());
    out.extend(1_u16.to_le_bytes()); // PCM
    out.extend(1_u16.to_le_bytes()); // mono
    out.extend(RATE.to_le_bytes());
    out.extend((RATE * 2).to_le_bytes());
    out.extend(2_u16.to_le_bytes());
    out.extend(16_u16.to_le_bytes());
    out.extend(b"data");
    out.extend(length.to_le_bytes());
    for s in samples {
        out.extend(s.to_le_bytes());
    }
    out
}
