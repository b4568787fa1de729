//! Tells the crate whether it is built with OpenSSL 3, by `cfg(openssl3)`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(openssl3)");
    let version = std::env::var("DEP_OPENSSL_VERSION_NUMBER").unwrap_or_default();
    if u64::from_str_radix(&version, 16).is_ok_and(|version| version >= 0x3000_0000) {
        println!("cargo:rustc-cfg=openssl3");
    }
}
