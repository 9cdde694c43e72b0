//! The words of the Core Business Vocabulary (CBV) and of GDST, in all the ways in which they are written.

const CBV_STEPS: [&str; 6] = [
    "urn:epcglobal:cbv:bizstep:",
    "https://ref.gs1.org/cbv/BizStep-",
    "https://ns.gs1.org/cbv/BizStep-",
    "https://gs1.org/voc/Bizstep-",
    "cbv:BizStep-",
    "urn:gdst:bizStep:",
];
const CBV_DISPOSITIONS: [&str; 5] = [
    "urn:epcglobal:cbv:disp:",
    "https://ref.gs1.org/cbv/Disp-",
    "https://ns.gs1.org/cbv/Disp-",
    "https://gs1.org/voc/Disp-",
    "cbv:Disp-",
];
const CBV_SOURCE_DESTINATION: [&str; 5] = [
    "urn:epcglobal:cbv:sdt:",
    "https://ref.gs1.org/cbv/SDT-",
    "https://ns.gs1.org/cbv/SDT-",
    "https://gs1.org/voc/SourceDestType-",
    "cbv:SDT-",
];
const CBV_TRANSACTIONS: [&str; 5] = [
    "urn:epcglobal:cbv:btt:",
    "https://ref.gs1.org/cbv/BTT-",
    "https://ns.gs1.org/cbv/BTT-",
    "https://gs1.org/voc/BTT-",
    "cbv:BTT-",
];

/// The word without the prefix of one of its vocabularies; a URI of another vocabulary stays as it is, so
/// that nobody's own `…/shipping` is taken for the CBV's.
fn bare(text: &str, prefixes: &[&str]) -> String {
    let text = text.trim();
    for prefix in prefixes {
        if let Some(head) = text.get(..prefix.len())
            && head.eq_ignore_ascii_case(prefix)
        {
            return text[prefix.len()..].to_ascii_lowercase();
        }
    }
    if text.contains(':') { text.to_owned() } else { text.to_ascii_lowercase() }
}

pub(crate) fn step(text: &str) -> String {
    bare(text, &CBV_STEPS)
}

pub(crate) fn disposition(text: &str) -> String {
    bare(text, &CBV_DISPOSITIONS)
}

pub(crate) fn source_destination(text: &str) -> String {
    bare(text, &CBV_SOURCE_DESTINATION)
}

pub(crate) fn transaction(text: &str) -> String {
    bare(text, &CBV_TRANSACTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_the_same_word_however_it_is_written() {
        for text in [
            "shipping",
            "urn:epcglobal:cbv:bizstep:shipping",
            "https://ref.gs1.org/cbv/BizStep-shipping",
            "cbv:BizStep-shipping",
        ] {
            assert_eq!(step(text), "shipping", "{text}");
        }
        assert_eq!(step("urn:gdst:bizStep:fishingEvent"), "fishingevent");
        assert_eq!(step("http://example.com/bizstep/shipping"), "http://example.com/bizstep/shipping");
        assert_eq!(source_destination("urn:epcglobal:cbv:sdt:owning_party"), "owning_party");
        assert_eq!(transaction("https://ref.gs1.org/cbv/BTT-desadv"), "desadv");
        assert_eq!(disposition("urn:epcglobal:cbv:disp:returned"), "returned");
    }
}
