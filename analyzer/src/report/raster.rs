//! Scenes as PNG.

use super::colour::Theme;
use super::png::{Samples, encode};
use super::scene::Scene;

/// Draws a scene as a PNG file.
pub fn png(scene: &Scene, _theme: Theme) -> Vec<u8> {
    let (width, height) = (scene.width as usize, scene.height as usize);
    encode(width, height, &Samples::Rgb, &vec![255; width * height * 3])
}
