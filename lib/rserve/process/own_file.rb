# frozen_string_literal: true

module Rserve
  # Files that say where the server is.
  module OwnFile
    # A file cannot be made beside it, or not be put in its place: the folder is not ours, or the file is mounted there.
    IN_PLACE = [Errno::EACCES, Errno::EBUSY, Errno::ENAMETOOLONG, Errno::EPERM, Errno::EROFS].freeze
    private_constant :IN_PLACE

    module_function

    # Writes `text` to the file at `path`, by another one that takes its place when it is complete: where there is no
    # room the old one stays. A symbolic link there is replaced by a file, and not followed: in a folder that others may
    # write to it could lead to any file of ours.
    #
    # @param path [String]
    # @param text [#to_s]
    # @param mode [Integer, nil] of the file, be it new or not; the umask's choice for a new one unless given
    # @raise [SystemCallError] when it cannot be written
    def write(path, text, mode = nil)
      old = lstat(path)
      return write_in_place(path, text, mode) unless old.nil? || old.file? || old.symlink?

      begin
        replace(path, text, mode, old&.file? ? old : nil)
      rescue *IN_PLACE
        write_in_place(path, text, mode)
      end
    end

    def lstat(path)
      File.lstat(path)
    rescue SystemCallError
      nil
    end

    # @param old [File::Stat, nil] of the file that is replaced: the new one has its owner and its mode
    def replace(path, text, mode, old)
      beside = "#{path}.#{Process.pid}"
      create(beside, mode || 0o666) do |file|
        file.chown(old.uid, old.gid) if old && [old.uid, old.gid] != [file.stat.uid, file.stat.gid]
        mode ||= old.mode & 0o7777 if old
        file.chmod(mode) if mode && file.stat.mode & 0o7777 != mode
        file.write(text)
      end
      File.rename(beside, path)
    rescue SystemCallError
      remove(beside)
      raise
    end

    # One that is there already was left by a process of the same pid that was killed meanwhile.
    def create(path, mode, &)
      flags = File::WRONLY | File::CREAT | File::EXCL
      begin
        File.open(path, flags, mode, encoding: Encoding::UTF_8, &)
      rescue Errno::EEXIST
        File.unlink(path)
        File.open(path, flags, mode, encoding: Encoding::UTF_8, &)
      end
    end

    def remove(path)
      File.unlink(path)
    rescue SystemCallError
      nil
    end

    def write_in_place(path, text, mode)
      flags = File::WRONLY | File::CREAT | File::NOFOLLOW | File::NONBLOCK
      File.open(path, flags, mode || 0o666, encoding: Encoding::UTF_8) do |file|
        regular = file.stat.file?
        file.chmod(mode) if mode && regular && file.stat.mode & 0o777 != mode & 0o777
        file.write(text)
        file.flush
        file.truncate(file.pos) if regular
      end
    end
    private_class_method :lstat, :replace, :create, :remove, :write_in_place
  end
end
