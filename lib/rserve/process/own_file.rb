# frozen_string_literal: true

module Rserve
  # Files that say where the server is.
  module OwnFile
    module_function

    # Writes `text` to the file at `path`. A symbolic link there is replaced by a file, and not followed: in a folder
    # that others may write to it could lead to any file of ours.
    #
    # @param path [String]
    # @param text [#to_s]
    # @param mode [Integer, nil] of the file, be it new or not; the umask's choice for a new one unless given
    # @raise [SystemCallError] when it cannot be written
    def write(path, text, mode = nil)
      create(path, mode) do |file|
        file.chmod(mode) if mode && file.stat.file? && file.stat.mode & 0o777 != mode & 0o777
        file.write(text)
      end
    end

    def create(path, mode, &)
      flags = File::WRONLY | File::CREAT | File::TRUNC | File::NOFOLLOW | File::NONBLOCK
      File.open(path, flags, mode || 0o666, encoding: Encoding::UTF_8, &)
    rescue Errno::ELOOP
      raise unless File.symlink?(path) # a link on the way to it, around in circles

      File.unlink(path)
      retry
    end
    private_class_method :create
  end
end
