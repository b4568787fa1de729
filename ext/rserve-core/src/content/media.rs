//! Media types by what the name of a file ends with.

use std::collections::HashMap;

/// What the web is made of, for applications that do not bring Rack's own table.
const COMMON: &[(&str, &str)] = &[
    (".aac", "audio/aac"),
    (".apng", "image/apng"),
    (".atom", "application/atom+xml"),
    (".avif", "image/avif"),
    (".bmp", "image/bmp"),
    (".bz2", "application/x-bzip2"),
    (".css", "text/css"),
    (".csv", "text/csv"),
    (".doc", "application/msword"),
    (".docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (".eot", "application/vnd.ms-fontobject"),
    (".epub", "application/epub+zip"),
    (".gif", "image/gif"),
    (".gz", "application/x-gzip"),
    (".htm", "text/html"),
    (".html", "text/html"),
    (".ico", "image/vnd.microsoft.icon"),
    (".ics", "text/calendar"),
    (".jpeg", "image/jpeg"),
    (".jpg", "image/jpeg"),
    (".js", "text/javascript"),
    (".json", "application/json"),
    (".jsonld", "application/ld+json"),
    (".m3u8", "application/vnd.apple.mpegurl"),
    (".m4a", "audio/mp4"),
    (".map", "application/json"),
    (".md", "text/markdown"),
    (".mjs", "text/javascript"),
    (".mov", "video/quicktime"),
    (".mp3", "audio/mpeg"),
    (".mp4", "video/mp4"),
    (".mpeg", "video/mpeg"),
    (".ogg", "audio/ogg"),
    (".ogv", "video/ogg"),
    (".otf", "font/otf"),
    (".pdf", "application/pdf"),
    (".png", "image/png"),
    (".pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    (".ps", "application/postscript"),
    (".rss", "application/rss+xml"),
    (".rtf", "application/rtf"),
    (".svg", "image/svg+xml"),
    (".tar", "application/x-tar"),
    (".tif", "image/tiff"),
    (".tiff", "image/tiff"),
    (".ts", "video/mp2t"),
    (".ttf", "font/ttf"),
    (".txt", "text/plain"),
    (".vcf", "text/x-vcard"),
    (".vtt", "text/vtt"),
    (".wasm", "application/wasm"),
    (".wav", "audio/x-wav"),
    (".weba", "audio/webm"),
    (".webm", "video/webm"),
    (".webmanifest", "application/manifest+json"),
    (".webp", "image/webp"),
    (".woff", "font/woff"),
    (".woff2", "font/woff2"),
    (".xhtml", "application/xhtml+xml"),
    (".xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (".xml", "application/xml"),
    (".xsl", "application/xslt+xml"),
    (".yaml", "text/yaml"),
    (".yml", "text/yaml"),
    (".zip", "application/zip"),
    (".zst", "application/zstd"),
];

/// Types that are known.
#[derive(Debug)]
pub(super) struct MediaTypes(HashMap<Box<[u8]>, Box<str>>);

impl MediaTypes {
    /// The common ones, and `others`, which come first: `.ext` and its type.
    pub(super) fn new(others: &[(String, String)]) -> Self {
        let others = others.iter().map(|(extension, media)| (extension.as_str(), media.as_str()));
        let all = COMMON.iter().copied().chain(others);
        Self(
            all.map(|(extension, media)| (extension.to_ascii_lowercase().into_bytes().into(), media.into()))
                .collect(),
        )
    }

    /// The type of a file whose name ends with `extension`, in any case.
    pub(super) fn of(&self, extension: &[u8]) -> Option<&str> {
        let media = match extension.iter().any(u8::is_ascii_uppercase) {
            true => self.0.get(extension.to_ascii_lowercase().as_slice()),
            false => self.0.get(extension),
        };
        media.map(AsRef::as_ref)
    }
}

/// Whether content of this type becomes smaller by a coding: text, however it is called. `media` may have parameters.
pub(crate) fn is_compressible(media: &[u8]) -> bool {
    let end = media.iter().position(|octet| matches!(octet, b';' | b' ' | b'\t')).unwrap_or(media.len());
    let media = media[..end].to_ascii_lowercase();
    media.starts_with(b"text/")
        || media.ends_with(b"+json")
        || media.ends_with(b"+xml")
        || matches!(
            media.as_slice(),
            b"application/json"
                | b"application/javascript"
                | b"application/x-javascript"
                | b"application/ecmascript"
                | b"application/xml"
                | b"application/x-ndjson"
                | b"application/ndjson"
                | b"application/graphql"
                | b"application/sql"
                | b"application/rtf"
                | b"application/wasm"
                | b"application/vnd.apple.mpegurl"
                | b"application/vnd.ms-fontobject"
                | b"application/x-font-ttf"
                | b"font/ttf"
                | b"font/otf"
                | b"image/bmp"
                | b"image/vnd.microsoft.icon"
                | b"image/x-icon"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_types_come_first() {
        let types =
            MediaTypes::new(&[(".js".into(), "application/javascript".into()), (".X".into(), "a/b".into())]);
        for (extension, want) in [
            (".js", Some("application/javascript")),
            (".x", Some("a/b")),
            (".css", Some("text/css")),
            (".CSS", Some("text/css")),
            (".unknown", None),
            (".", None),
            ("", None),
        ] {
            assert_eq!(types.of(extension.as_bytes()), want, "{extension:?}");
        }
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(COMMON.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn text_is_compressible() {
        for (media, want) in [
            ("text/html", true),
            ("TEXT/html; charset=utf-8", true),
            ("application/json", true),
            ("application/json ; a=b", true),
            ("application/problem+json", true),
            ("image/svg+xml", true),
            ("application/javascript", true),
            ("image/png", false),
            ("application/zip", false),
            ("application/octet-stream", false),
            ("video/mp4", false),
            ("", false),
        ] {
            assert_eq!(is_compressible(media.as_bytes()), want, "{media:?}");
        }
    }
}
