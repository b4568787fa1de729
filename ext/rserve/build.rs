//! What the Ruby that this is built for has.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    // Gives cfg(ruby_gte_3_2) and the like.
    let _ = rb_sys_env::activate()?;
    println!("cargo:rustc-check-cfg=cfg(hash_table)");
    if headers_have("ruby/internal/core/rhash.h", "rb_hash_tbl(")? {
        println!("cargo:rustc-cfg=hash_table");
    }
    Ok(())
}

/// Whether one of Ruby's headers names this.
fn headers_have(header: &str, name: &str) -> Result<bool, Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=RUBY");
    let ruby = env::var("RUBY").unwrap_or_else(|_| "ruby".into());
    let folder = Command::new(ruby)
        .args(["-rrbconfig", "-e", "print RbConfig::CONFIG['rubyhdrdir']"])
        .output()?
        .stdout;
    let text = fs::read_to_string(Path::new(&String::from_utf8(folder)?).join(header)).unwrap_or_default();
    Ok(text.contains(name))
}
