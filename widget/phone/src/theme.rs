//! Derives readable colours from the tenant's colour.
//!
//! A tenant may choose any colour, for example yellow, black, or the grey of the page. Five roles per theme
//! are derived from it. Each is moved in lightness (OKLCH) until text on it, or in it, has a contrast of at
//! least 4.5:1 (WCAG 2.2, 1.4.3). The hue is kept.
// The formulas are written with r, g, b and l, c, h.
#![allow(clippy::many_single_char_names, clippy::similar_names)]

/// The accent colours of one theme.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accent {
    /// Fill of the main button.
    pub fill: Rgb,
    /// The same button under the pointer.
    pub hover: Rgb,
    /// Text and icons on `fill` and `hover`.
    pub on_fill: Rgb,
    /// Text, icons and focus rings on the surfaces and on `soft`.
    pub text: Rgb,
    /// Background of what is selected.
    pub soft: Rgb,
}

/// sRGB, 0–1 each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rgb(pub [f32; 3]);

/// A hue as a unit vector in the a-b plane of `OKLab`. An angle would need trigonometric functions, which
/// enlarge the module.
type Hue = [f32; 2];

/// Used when the tenant's colour cannot be parsed.
const FALLBACK_ACCENT: Rgb = Rgb([0.145, 0.388, 0.922]);

const WHITE: Rgb = Rgb([1.0, 1.0, 1.0]);
const DARK_TEXT: Rgb = Rgb([0.06, 0.07, 0.09]);
/// The lightest and darkest surface of each theme, as in `css/00-roles.css`.
const LIGHT_SURFACES: [Rgb; 2] = [WHITE, Rgb([0.929, 0.937, 0.949])];
const DARK_SURFACES: [Rgb; 2] = [Rgb([0.075, 0.086, 0.102]), Rgb([0.161, 0.176, 0.2])];
const MIN_TEXT_CONTRAST: f32 = 4.5;
/// Margin for rounding to eight bits and for the browser's arithmetic.
const CONTRAST_MARGIN: f32 = 0.06;
/// Minimum contrast of a button to the surface behind it (WCAG 2.2, 1.4.11).
const MIN_SHAPE_CONTRAST: f32 = 3.0;
/// Step in OKLCH lightness by which a colour is moved until its contrast suffices.
const LIGHTNESS_STEP: f32 = 0.01;
/// Colours below this chroma count as grey: their hue is not visible.
const MAX_GREY_CHROMA: f32 = 0.02;

impl Accent {
    pub fn light(theme: Rgb) -> Self {
        Self::derive(theme, &LIGHT_SURFACES, false)
    }

    pub fn dark(theme: Rgb) -> Self {
        Self::derive(theme, &DARK_SURFACES, true)
    }

    fn derive(theme: Rgb, surfaces: &[Rgb; 2], dark: bool) -> Self {
        let (given, c, h) = theme.to_oklch();
        let grey = c < MAX_GREY_CHROMA;
        let l = match (grey, dark) {
            // A white accent on a white page, or black on black, is inverted.
            (true, true) if given < 0.45 => 0.93,
            (true, false) if given > 0.75 => 0.27,
            _ => given,
        };
        let page = if dark { surfaces[1] } else { surfaces[0] };
        let mut fill_l = l;
        if dark {
            // A fill as dark as the page would not be visible as a button.
            while fill_l < 1.0 && contrast(Rgb::from_oklch(fill_l, c, h), page) < MIN_SHAPE_CONTRAST {
                fill_l += LIGHTNESS_STEP;
            }
        }
        let mut on_fill = WHITE;
        if contrast(Rgb::from_oklch(fill_l, c, h), WHITE) < MIN_TEXT_CONTRAST + CONTRAST_MARGIN {
            let nearly = contrast(Rgb::from_oklch(fill_l, c, h), WHITE) > 2.6;
            if nearly && !dark {
                // White is easier to read on a saturated medium colour: darken the fill slightly.
                while contrast(Rgb::from_oklch(fill_l, c, h), WHITE) < MIN_TEXT_CONTRAST + CONTRAST_MARGIN {
                    fill_l -= LIGHTNESS_STEP;
                }
            } else {
                on_fill = DARK_TEXT;
                while contrast(Rgb::from_oklch(fill_l, c, h), DARK_TEXT) < MIN_TEXT_CONTRAST + CONTRAST_MARGIN {
                    fill_l += LIGHTNESS_STEP;
                }
            }
        }
        let hover_step = if on_fill == WHITE { -0.04 } else { 0.04 };
        let hover = Rgb::from_oklch((fill_l + hover_step).clamp(0.0, 1.0), c, h);
        let soft_l = if dark { 0.3 } else { 0.94 };
        let soft = Rgb::from_oklch(soft_l, c.min(if dark { 0.06 } else { 0.035 }), h);
        let mut text_l = if dark { l.max(0.72) } else { l.min(0.56) };
        let text_step = if dark { LIGHTNESS_STEP } else { -LIGHTNESS_STEP };
        let is_readable = |l: f32| {
            let text = Rgb::from_oklch(l, c, h);
            [surfaces[0], surfaces[1], soft]
                .iter()
                .all(|under| contrast(text, *under) >= MIN_TEXT_CONTRAST + CONTRAST_MARGIN)
        };
        while !is_readable(text_l) && (0.0..=1.0).contains(&text_l) {
            text_l += text_step;
        }
        Self { fill: Rgb::from_oklch(fill_l, c, h), hover, on_fill, text: Rgb::from_oklch(text_l, c, h), soft }
    }
}

/// The CSS custom properties of the accent colours.
pub fn variables(light: &Accent, dark: &Accent) -> [(&'static str, String); 5] {
    let both = |light: Rgb, dark: Rgb| format!("light-dark({}, {})", light.css(), dark.css());
    [
        ("--accent", both(light.fill, dark.fill)),
        ("--accent-hover", both(light.hover, dark.hover)),
        ("--on-accent", both(light.on_fill, dark.on_fill)),
        ("--accent-text", both(light.text, dark.text)),
        ("--accent-soft", both(light.soft, dark.soft)),
    ]
}

impl Rgb {
    /// Reads `#rrggbb` or `#rgb`; anything else is the fallback blue.
    pub fn parse(text: &str) -> Self {
        Self::try_parse(text).unwrap_or(FALLBACK_ACCENT)
    }

    fn try_parse(text: &str) -> Option<Self> {
        let hex = text.trim().strip_prefix('#')?;
        let long: String = match hex.len() {
            3 => hex.chars().flat_map(|c| [c, c]).collect(),
            6 => hex.to_owned(),
            _ => return None,
        };
        let value = u32::from_str_radix(&long, 16).ok()?;
        let [_, r, g, b] = value.to_be_bytes();
        Some(Self([r, g, b].map(|byte| f32::from(byte) / 255.0)))
    }

    pub fn css(self) -> String {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
        let [r, g, b] = self.0.map(|part| (part * 255.0).round() as u8);
        format!("rgb({r} {g} {b})")
    }

    /// Lightness 0–1, chroma, hue (Ottosson, "A perceptual color space for image processing").
    fn to_oklch(self) -> (f32, f32, Hue) {
        let [r, g, b] = self.0.map(linear);
        let l = (0.412_221_46 * r + 0.536_332_55 * g + 0.051_445_995 * b).cbrt();
        let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
        let s = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
        let lightness = 0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s;
        let a = 1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s;
        let b = 0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s;
        let c = (a * a + b * b).sqrt();
        (lightness, c, if c > 0.0 { [a / c, b / c] } else { [1.0, 0.0] })
    }

    /// The nearest sRGB colour of that lightness and hue. Chroma is reduced until the colour is in gamut.
    fn from_oklch(l: f32, c: f32, h: Hue) -> Self {
        let mut chroma = c;
        loop {
            let raw = raw_rgb(l, chroma, h);
            let fits = raw.iter().all(|part| (-0.001..=1.001).contains(part));
            if fits || chroma < 0.002 {
                return Self(raw.map(|part| gamma(part.clamp(0.0, 1.0))));
            }
            chroma -= 0.002;
        }
    }

    fn luminance(self) -> f32 {
        let [r, g, b] = self.0.map(linear);
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }
}

/// Contrast ratio of two colours (WCAG 2.2), 1–21.
pub fn contrast(a: Rgb, b: Rgb) -> f32 {
    let (a, b) = (a.luminance(), b.luminance());
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

fn raw_rgb(lightness: f32, c: f32, h: Hue) -> [f32; 3] {
    let [a, b] = h.map(|part| c * part);
    let l = (lightness + 0.396_337_78 * a + 0.215_803_76 * b).powi(3);
    let m = (lightness - 0.105_561_346 * a - 0.063_854_17 * b).powi(3);
    let s = (lightness - 0.089_484_18 * a - 1.291_485_5 * b).powi(3);
    [
        4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
        -1.268_438 * l + 2.609_757_4 * m - 0.341_319_38 * s,
        -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
    ]
}

fn linear(part: f32) -> f32 {
    if part <= 0.040_45 { part / 12.92 } else { power((part + 0.055) / 1.055, 2.4) }
}

fn gamma(part: f32) -> f32 {
    if part <= 0.003_130_8 { part * 12.92 } else { 1.055 * power(part, 1.0 / 2.4) - 0.055 }
}

/// The browser's: Rust's would be 2 KB of the module.
#[cfg(target_arch = "wasm32")]
#[expect(clippy::cast_possible_truncation, reason = "parts of a colour")]
fn power(base: f32, exponent: f32) -> f32 {
    js_sys::Math::pow(base.into(), exponent.into()) as f32
}

#[cfg(not(target_arch = "wasm32"))]
fn power(base: f32, exponent: f32) -> f32 {
    base.powf(exponent)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    const ROLES: &str = include_str!("../css/00-roles.css");

    /// The colour of a role as the style sheet defines it: `[light, dark]`.
    fn role(name: &str) -> [Rgb; 2] {
        let start = ROLES.find(&format!("--{name}: light-dark(")).unwrap_or_else(|| panic!("no role {name}"));
        let line = ROLES[start..].lines().next().unwrap();
        let mut found = line.split("oklch(").skip(1).map(|part| {
            let numbers: Vec<f32> =
                part.split(')').next().unwrap().split_whitespace().map(|number| number.parse().unwrap()).collect();
            let hue = numbers[2].to_radians();
            Rgb::from_oklch(numbers[0], numbers[1], [hue.cos(), hue.sin()])
        });
        [found.next().unwrap(), found.next().unwrap()]
    }

    fn palette() -> Vec<Rgb> {
        let mut all: Vec<Rgb> = (0..=8)
            .flat_map(|r| (0..=8).flat_map(move |g| (0..=8).map(move |b| [r, g, b])))
            .map(|parts: [u8; 3]| Rgb(parts.map(|part| f32::from(part) / 8.0)))
            .collect();
        all.extend(["#ffee00", "#000000", "#ffffff", "#2563eb", "#7a7a7a"].map(Rgb::parse));
        all
    }

    #[test]
    fn every_accent_is_readable_in_both_themes() {
        for theme in palette() {
            for (i, accent) in [Accent::light(theme), Accent::dark(theme)].into_iter().enumerate() {
                let ratio = contrast(accent.on_fill, accent.fill);
                assert!(ratio >= MIN_TEXT_CONTRAST, "{theme:?} label on fill {i}: {ratio}");
                let ratio = contrast(accent.on_fill, accent.hover);
                assert!(ratio >= MIN_TEXT_CONTRAST, "{theme:?} label on hover {i}: {ratio}");
                for surface in ["surface-0", "surface-1", "surface-2"] {
                    let ratio = contrast(accent.text, role(surface)[i]);
                    assert!(ratio >= MIN_TEXT_CONTRAST, "{theme:?} text on {surface} {i}: {ratio}");
                }
                let ratio = contrast(accent.text, accent.soft);
                assert!(ratio >= MIN_TEXT_CONTRAST, "{theme:?} text on soft {i}: {ratio}");
            }
        }
    }

    #[test]
    fn a_readable_accent_is_not_changed() {
        let blue = Rgb::parse("#2563eb");
        let accent = Accent::light(blue);
        for (kept, given) in accent.fill.0.iter().zip(blue.0) {
            assert!((kept - given).abs() < 0.01, "{:?}", accent.fill);
        }
        assert_eq!(accent.on_fill, WHITE);
    }

    #[test]
    fn an_invalid_colour_becomes_the_fallback() {
        for broken in ["", "red", "#12", "#gggggg", "#ffeé0"] {
            assert_eq!(Rgb::parse(broken), FALLBACK_ACCENT, "{broken}");
        }
        assert_eq!(Rgb::parse("#fff"), WHITE);
    }

    #[test]
    fn the_text_colours_of_the_style_sheet_are_readable() {
        let surfaces = ["surface-0", "surface-1", "surface-2"];
        for text in ["text", "muted", "positive-text", "negative-text", "warning-text"] {
            for surface in surfaces {
                for (i, (a, b)) in role(text).into_iter().zip(role(surface)).enumerate() {
                    let ratio = contrast(a, b);
                    assert!(ratio >= MIN_TEXT_CONTRAST, "{text} on {surface}, theme {i}: {ratio}");
                }
            }
        }
        for (text, under) in [
            ("on-positive", "positive"),
            ("on-positive", "positive-hover"),
            ("on-negative", "negative"),
            ("on-negative", "negative-hover"),
            ("warning-text", "warning-soft"),
            ("negative-text", "negative-soft"),
            ("positive-text", "positive-soft"),
            ("text", "key"),
            ("muted", "key"),
            ("text", "key-hover"),
        ] {
            for (i, (a, b)) in role(text).into_iter().zip(role(under)).enumerate() {
                let ratio = contrast(a, b);
                assert!(ratio >= MIN_TEXT_CONTRAST, "{text} on {under}, theme {i}: {ratio}");
            }
        }
        for shape in ["positive", "negative", "field-line"] {
            for (i, (a, b)) in role(shape).into_iter().zip(role("surface-0")).enumerate() {
                let ratio = contrast(a, b);
                assert!(ratio >= MIN_SHAPE_CONTRAST, "{shape} on the page, theme {i}: {ratio}");
            }
        }
    }

    #[test]
    fn the_surface_constants_match_the_style_sheet() {
        for (i, known) in [LIGHT_SURFACES, DARK_SURFACES].into_iter().enumerate() {
            for (colour, name) in known.into_iter().zip(["surface-0", "surface-2"]) {
                for (a, b) in colour.0.iter().zip(role(name)[i].0) {
                    assert!((a - b).abs() < 0.01, "{name} {i}: {:?}", role(name)[i]);
                }
            }
        }
    }
}
