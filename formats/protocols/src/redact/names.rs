//! Names whose values are secrets wherever they are met: of header lines, of parameters, of keys in JSON.
//!
//! Only where everything is kept (`--payload full`). Of heads alone, a short list says what is harmless, and all else is blank.

use super::rules::plain;

/// Header lines, lower case, sorted.
const HEADERS: [&str; 42] = [
    "api-key",
    "apikey",
    "authentication-info",
    "authorization",
    "cf-access-jwt-assertion",
    "cookie",
    "cookie2",
    "dd-api-key",
    "dd-application-key",
    "ocp-apim-subscription-key",
    "private-token",
    "proxy-authentication-info",
    "proxy-authorization",
    "set-cookie",
    "set-cookie2",
    "stripe-signature",
    "x-access-token",
    "x-amz-security-token",
    "x-amzn-oidc-accesstoken",
    "x-amzn-oidc-data",
    "x-api-key",
    "x-api-token",
    "x-auth-key",
    "x-auth-token",
    "x-authorization",
    "x-consul-token",
    "x-csrf-token",
    "x-forwarded-access-token",
    "x-forwarded-client-cert",
    "x-functions-key",
    "x-gitlab-token",
    "x-goog-api-key",
    "x-goog-iap-jwt-assertion",
    "x-hub-signature",
    "x-hub-signature-256",
    "x-rapidapi-key",
    "x-session-token",
    "x-shopify-access-token",
    "x-slack-signature",
    "x-token",
    "x-vault-token",
    "x-xsrf-token",
];

/// Parameters and keys in their plain form, sorted.
const NAMES: [&str; 104] = [
    "accesskey",
    "accesskeyid",
    "accesstoken",
    "accountnumber",
    "apikey",
    "apisecret",
    "apitoken",
    "appsecret",
    "assertion",
    "auth",
    "authcode",
    "authkey",
    "authorization",
    "authtoken",
    "awsaccesskeyid",
    "awssecretaccesskey",
    "bankaccount",
    "bearer",
    "card",
    "cardnumber",
    "cc",
    "ccnumber",
    "ccnum",
    "clientassertion",
    "clientsecret",
    "connectionstring",
    "cookie",
    "creditcard",
    "creditcardnumber",
    "cred",
    "credential",
    "credentials",
    "csc",
    "csrf",
    "csrftoken",
    "cvc",
    "cvv",
    "cvv2",
    "deviceid",
    "driverlicense",
    "encryptionkey",
    "googleaccessid",
    "hmac",
    "iban",
    "idtoken",
    "jsessionid",
    "jwt",
    "licensenumber",
    "logintoken",
    "masterkey",
    "mfacode",
    "mfatoken",
    "nationalid",
    "newpassword",
    "oauthnonce",
    "oauthsignature",
    "oauthtoken",
    "oauthverifier",
    "oldpassword",
    "onetimecode",
    "otp",
    "otpcode",
    "pass",
    "passcode",
    "passphrase",
    "passport",
    "passportnumber",
    "passwd",
    "password",
    "phpsessid",
    "pin",
    "privatekey",
    "pwd",
    "refreshtoken",
    "relaystate",
    "resettoken",
    "samlart",
    "samlrequest",
    "samlresponse",
    "secret",
    "secretkey",
    "securitycode",
    "securitytoken",
    "session",
    "sessionid",
    "sessionkey",
    "sessiontoken",
    "sid",
    "sig",
    "signature",
    "signingkey",
    "socialsecurity",
    "socialsecuritynumber",
    "ssn",
    "storageaccountkey",
    "taxid",
    "ticket",
    "token",
    "totp",
    "verificationcode",
    "xamzcredential",
    "xamzsecuritytoken",
    "xamzsignature",
    "xsrftoken",
];
/// More that are secrets as parameters, and mostly something else as keys.
const PARAMETERS: [&str; 7] = ["code", "key", "nonce", "state", "tok", "xgoogcredential", "xgoogsignature"];
/// How names of keys end whose values are secrets, whatever stands before.
const ENDS: [&str; 7] = ["password", "passwd", "secret", "token", "apikey", "privatekey", "secretkey"];

/// Longest name that is compared.
pub(super) const MAX_BYTES: usize = 64;

pub(super) fn is_secret_header(name: &[u8]) -> bool {
    let lower = name.to_ascii_lowercase();
    HEADERS.iter().any(|known| known.as_bytes() == lower)
}

pub(super) fn is_secret_key(plain: &str) -> bool {
    NAMES.contains(&plain) || ENDS.iter().any(|end| plain.ends_with(end))
}

/// `name`: as it was written, perhaps with `%41` for `A`.
pub(super) fn is_secret_parameter(name: &[u8]) -> bool {
    let plain = plain(&unescaped(name));
    is_secret_key(&plain) || PARAMETERS.contains(&plain.as_str())
}

fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut at = 0;
    while at < name.len() {
        let escape = name[at..].strip_prefix(b"%").and_then(|digits| digits.get(..2));
        let digits = escape.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                at += 3;
            }
            None => {
                bytes.push(name[at]);
                at += 1;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_however_they_are_written() {
        for name in
            ["access_token", "X-Amz-Signature", "pass%77ord", "AWSAccessKeyId", "SAMLResponse", "code", "sig"]
        {
            assert!(is_secret_parameter(name.as_bytes()), "{name}");
        }
        for name in ["page", "user", "codec", "q", "%7", "keyword"] {
            assert!(!is_secret_parameter(name.as_bytes()), "{name}");
        }
        assert!(is_secret_key(&plain(b"db_password")) && !is_secret_key(&plain(b"code")));
        assert!(is_secret_header(b"Set-Cookie") && !is_secret_header(b"Accept"));
        assert!(HEADERS.is_sorted());
        // Each is in the form in which it is compared.
        assert!(NAMES.iter().chain(&PARAMETERS).all(|name| plain(name.as_bytes()) == **name));
    }
}
