//! Names of numbers: what is asked for, and how it went.

/// Operations of messages that are no queries, by their opcode.
pub(super) fn opcode(opcode: u8) -> Option<&'static str> {
    Some(match opcode {
        1 => "IQUERY",
        2 => "STATUS",
        NOTIFY => "NOTIFY",
        UPDATE => "UPDATE",
        DSO => "DSO",
        _ => return None,
    })
}

/// A question.
pub(super) const QUERY: u8 = 0;
/// A zone has changed (RFC 1996).
pub(super) const NOTIFY: u8 = 4;
/// Changes of a zone (RFC 2136).
pub(super) const UPDATE: u8 = 5;
/// Of the connection itself (RFC 8490).
pub(super) const DSO: u8 = 6;

/// Start of authority: what NOTIFY and UPDATE name a zone by.
pub(super) const SOA: u16 = 6;
/// EDNS, which is in no question.
pub(super) const OPT: u16 = 41;
/// Transfers of a zone, whose answers are of any number of messages (RFC 1995, RFC 5936).
pub(super) const TRANSFERS: [u16; 2] = [251, 252];

/// Whether there is a class of this number that is asked for: IN, CH, HS, NONE, ANY.
pub(super) fn is_class(class: u16) -> bool {
    matches!(class, 1 | 3 | 4 | 254 | 255)
}

/// What an answer says of how it went (RFC 6895 and the registry that it made).
pub(super) fn rcode(code: u16) -> Option<&'static str> {
    Some(match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        11 => "DSOTYPENI",
        16 => "BADVERS",
        23 => "BADCOOKIE",
        _ => return None,
    })
}

/// A type that is asked for: its number, its name, and what a span of such a question is called.
pub(super) struct Type {
    number: u16,
    pub(super) name: &'static str,
    pub(super) title: &'static str,
}

/// The type of this number, where it has a name.
pub(super) fn of_type(number: u16) -> Option<&'static Type> {
    TYPES.binary_search_by_key(&number, |known| known.number).ok().map(|at| &TYPES[at])
}

macro_rules! types {
    ($($number:literal $name:literal)*) => {
        [$(Type { number: $number, name: $name, title: concat!($name, " query") }),*]
    };
}

/// Those of the registry that a question may have.
const TYPES: [Type; 78] = types![
    1 "A" 2 "NS" 3 "MD" 4 "MF" 5 "CNAME" 6 "SOA" 7 "MB" 8 "MG" 9 "MR" 10 "NULL" 11 "WKS" 12 "PTR" 13 "HINFO"
    14 "MINFO" 15 "MX" 16 "TXT" 17 "RP" 18 "AFSDB" 19 "X25" 20 "ISDN" 21 "RT" 22 "NSAP" 24 "SIG" 25 "KEY"
    26 "PX" 27 "GPOS" 28 "AAAA" 29 "LOC" 30 "NXT" 33 "SRV" 35 "NAPTR" 36 "KX" 37 "CERT" 39 "DNAME" 42 "APL"
    43 "DS" 44 "SSHFP" 45 "IPSECKEY" 46 "RRSIG" 47 "NSEC" 48 "DNSKEY" 49 "DHCID" 50 "NSEC3" 51 "NSEC3PARAM"
    52 "TLSA" 53 "SMIMEA" 55 "HIP" 56 "NINFO" 57 "RKEY" 58 "TALINK" 59 "CDS" 60 "CDNSKEY" 61 "OPENPGPKEY"
    62 "CSYNC" 63 "ZONEMD" 64 "SVCB" 65 "HTTPS" 66 "DSYNC" 99 "SPF" 104 "NID" 105 "L32" 106 "L64" 107 "LP"
    108 "EUI48" 109 "EUI64" 249 "TKEY" 251 "IXFR" 252 "AXFR" 253 "MAILB" 254 "MAILA" 255 "ANY" 256 "URI"
    257 "CAA" 258 "AVC" 259 "DOA" 260 "AMTRELAY" 32768 "TA" 32769 "DLV"
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_its_number() {
        assert!(TYPES.is_sorted_by_key(|known| known.number));
        let name = |number| of_type(number).map(|known| (known.name, known.title));
        assert_eq!(name(28), Some(("AAAA", "AAAA query")));
        assert_eq!((name(0), name(OPT), name(65_280)), (None, None, None));
    }
}
