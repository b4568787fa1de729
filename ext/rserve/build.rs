fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Gives cfg(ruby_gte_3_2) and the like.
    let _ = rb_sys_env::activate()?;
    Ok(())
}
