# frozen_string_literal: true

require "openssl"

# Certificates of a test's own: an authority and what it signs, in files.
class Certificates
  attr_reader :folder

  def initialize(folder)
    @folder = folder
    @serial = 0
    @authority_key = OpenSSL::PKey::EC.generate("prime256v1")
    @authority = sign("/CN=Test authority", @authority_key, authority: true)
    write("ca.crt", @authority.to_pem)
  end

  # @return [String] path of the authority's certificate
  def ca = path("ca.crt")

  # Makes a certificate and its key.
  #
  # @param names [Array<String>] DNS names and IP addresses
  # @param password [String, nil] encrypts the key
  # @param days [Integer] how long it is valid; negative has expired
  # @return [Array(String, String)] paths of certificate and key
  def issue(name, names: ["localhost", "127.0.0.1"], password: nil, days: 30)
    key = OpenSSL::PKey::EC.generate("prime256v1")
    certificate = sign("/CN=#{name}", key, names:, days:)
    text = password ? key.to_pem(OpenSSL::Cipher.new("aes-256-cbc"), password) : key.to_pem
    [write("#{name}.crt", certificate.to_pem), write("#{name}.key", text)]
  end

  private

  def path(name) = File.join(@folder, name)

  # By way of another file, so that nobody reads half of it.
  def write(name, text)
    File.write("#{path(name)}.new", text)
    File.rename("#{path(name)}.new", path(name))
    path(name)
  end

  def sign(subject, key, names: [], days: 30, authority: false)
    certificate = OpenSSL::X509::Certificate.new
    certificate.version = 2
    certificate.serial = (@serial += 1)
    certificate.subject = OpenSSL::X509::Name.parse(subject)
    certificate.issuer = authority ? certificate.subject : @authority.subject
    certificate.public_key = key
    certificate.not_before = Time.now - (100 * 86_400)
    certificate.not_after = Time.now + (days * 86_400)
    factory = OpenSSL::X509::ExtensionFactory.new(@authority || certificate, certificate)
    certificate.add_extension(factory.create_extension("basicConstraints", "CA:#{authority ? "TRUE" : "FALSE"}", true))
    certificate.add_extension(factory.create_extension("subjectAltName", alternatives(names))) unless names.empty?
    certificate.sign(@authority_key, "SHA256")
  end

  def alternatives(names)
    names.map { |name| name.match?(/\A[\d.]+\z/) ? "IP:#{name}" : "DNS:#{name}" }.join(",")
  end
end
