//! Colours.
//!
//! The colour map of heat maps walks through OKLab (Ottosson 2020), in which equal distances look equal: lightness rises
//! in equal steps from a dark blue to a pale yellow, so that it reads the same without colour, printed or by
//! eyes that tell red from green badly.

use super::scene::Ink;

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// Steps of the colour map where it is written down as a table.
pub const STEPS: usize = 16;

/// A light or a dark page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Dark on light; little is light.
    Light,
    /// Light on dark; little is dark.
    Dark,
}

/// The colour of a heat map at `part` of its range, 0 to 1.
pub fn heat(part: f64, theme: Theme) -> Rgb {
    let part = part.clamp(0.0, 1.0);
    // On light ground much is dark, on dark ground much is light: what is rare stays near the ground.
    let (bright, lightness) = match theme {
        Theme::Light => (1.0 - part, 0.93 - 0.66 * part),
        Theme::Dark => (part, 0.28 + 0.65 * part),
    };
    let hue = (285.0 - 180.0 * bright).to_radians();
    let chroma = 0.02 + 0.12 * (std::f64::consts::PI * (0.06 + 0.8 * part)).sin();
    oklab(lightness, chroma * hue.cos(), chroma * hue.sin())
}

/// The colour of an ink.
pub fn ink(ink: Ink, theme: Theme) -> Rgb {
    let (light, dark) = match ink {
        Ink::Text => ([0x1b, 0x1f, 0x24], [0xe6, 0xe9, 0xee]),
        Ink::Faint => ([0x57, 0x60, 0x6a], [0x9d, 0xa7, 0xb3]),
        Ink::Line => ([0xd5, 0xda, 0xe0], [0x38, 0x40, 0x4a]),
        Ink::Ground => ([0xff, 0xff, 0xff], [0x15, 0x19, 0x1f]),
        Ink::Panel => ([0xf1, 0xf4, 0xf8], [0x22, 0x29, 0x32]),
        Ink::Plain => ([0x8a, 0x99, 0xab], [0x6c, 0x7b, 0x8e]),
        Ink::Server => ([0x1f, 0x6f, 0xb4], [0x5a, 0xa9, 0xe8]),
        Ink::Client => ([0x9a, 0x5b, 0xb5], [0xc0, 0x8b, 0xdc]),
        Ink::Waiting => ([0xc9, 0xd5, 0xe2], [0x37, 0x44, 0x53]),
        Ink::Mark => ([0xc2, 0x41, 0x0c], [0xff, 0x9d, 0x5c]),
        Ink::Bad => ([0xb4, 0x23, 0x18], [0xff, 0x7b, 0x72]),
        Ink::Left => ([0x8f, 0x5f, 0x00], [0xe3, 0xb3, 0x41]),
    };
    match theme {
        Theme::Light => light,
        Theme::Dark => dark,
    }
}

/// All inks with the names of their classes.
pub const INKS: [(Ink, &str); 12] = [
    (Ink::Text, "text"),
    (Ink::Faint, "faint"),
    (Ink::Line, "line"),
    (Ink::Ground, "ground"),
    (Ink::Panel, "panel"),
    (Ink::Plain, "plain"),
    (Ink::Server, "server"),
    (Ink::Client, "client"),
    (Ink::Waiting, "waiting"),
    (Ink::Mark, "mark"),
    (Ink::Bad, "bad"),
    (Ink::Left, "left"),
];

/// The name of an ink.
pub fn name(ink: Ink) -> &'static str {
    INKS.iter().find(|(other, _)| *other == ink).map_or("text", |(_, name)| name)
}

/// `#1b1f24`.
pub fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// From OKLab to sRGB.
fn oklab(lightness: f64, a: f64, b: f64) -> Rgb {
    let long = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let middle = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let short = (lightness - 0.089_484_177_5 * a - 1.291_485_548 * b).powi(3);
    [
        4.076_741_662_1 * long - 3.307_711_591_3 * middle + 0.230_969_929_2 * short,
        -1.268_438_004_6 * long + 2.609_757_401_1 * middle - 0.341_319_396_5 * short,
        -0.004_196_086_3 * long - 0.703_418_614_7 * middle + 1.707_614_701 * short,
    ]
    .map(|linear| {
        let linear = linear.clamp(0.0, 1.0);
        let coded =
            if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 };
        (255.0 * coded).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance.
    fn luminance(rgb: Rgb) -> f64 {
        let [r, g, b] = rgb.map(|part| {
            let coded = f64::from(part) / 255.0;
            if coded <= 0.04045 { coded / 12.92 } else { ((coded + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    fn contrast(a: Rgb, b: Rgb) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn the_map_reads_without_colour() {
        for theme in [Theme::Light, Theme::Dark] {
            let lights: Vec<f64> =
                (0..=64).map(|step| luminance(heat(f64::from(step) / 64.0, theme))).collect();
            let rising = theme == Theme::Dark;
            assert!(lights.windows(2).all(|pair| (pair[1] > pair[0]) == rising), "{theme:?} {lights:?}");
        }
    }

    #[test]
    fn text_and_marks_can_be_read() {
        for theme in [Theme::Light, Theme::Dark] {
            for ground in [Ink::Ground, Ink::Panel] {
                for text in [Ink::Text, Ink::Faint, Ink::Mark, Ink::Bad, Ink::Left] {
                    let contrast = contrast(ink(text, theme), ink(ground, theme));
                    assert!(contrast >= 4.5, "{text:?} on {ground:?} {theme:?}: {contrast:.2}");
                }
            }
        }
    }

    #[test]
    fn white_and_black_come_out_right() {
        assert_eq!((oklab(1.0, 0.0, 0.0), oklab(0.0, 0.0, 0.0)), ([255; 3], [0; 3]));
    }
}
