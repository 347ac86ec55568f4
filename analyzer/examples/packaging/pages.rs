//! Manual pages and completions of a program, from the definition of its command line.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::{Shell, generate_to};

/// Writes `man1/NAME.1`, a page for each subcommand beside it, and `completions/` of all shells into a folder.
pub fn write(command: Command, folder: &Path) -> io::Result<()> {
    let mut command = without_help(command);
    let (pages, completions) = (folder.join("man1"), folder.join("completions"));
    fs::create_dir_all(&pages)?;
    fs::create_dir_all(&completions)?;
    let name = command.get_name().to_owned();
    for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::Zsh] {
        generate_to(shell, &mut command, &name, &completions)?;
    }
    clap_mangen::generate_to(command, &pages)
}

/// Nobody looks for the page of `help`.
fn without_help(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}
