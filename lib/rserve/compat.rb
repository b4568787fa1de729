# frozen_string_literal: true

require "rserve"

# Puma's name for rserve, without taking Puma's name in banners and titles: this is rserve's own doing.
Puma = Rserve unless defined?(Puma)

# Puts the Puma façade in front of the load path: `require "puma/…"` of any gem finds rserve under Puma's names, even
# where the puma gem is in the bundle.
facade = File.expand_path("compat", __dir__)
$LOAD_PATH.delete(facade)
$LOAD_PATH.unshift(facade)

# Bundler may yet put the puma gem's own folder in front of ours. None of its files must be loaded over these, so these
# count as loaded: there is nothing in them but names, and what the names stand for loads itself.
$LOADED_FEATURES.concat(Dir.glob("puma{,/*,/{app,cluster,launcher,minissl,rack}/*}.rb", base: facade)
                           .map { |path| File.join(facade, path) } - $LOADED_FEATURES)
