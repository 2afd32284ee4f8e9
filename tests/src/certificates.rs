//! Certificates that a test needs beside the world's own.

use crate::World;

/// Runs shell on the server's disk, with three words more: `root NAME` makes a CA, `request NAME [CN]`
/// a key and what a CA signs, `sign NAME BY DAYS EXTENSION [AS]` the certificate.
///
/// # Panics
/// When it fails.
pub fn make(world: &World, script: &str) {
    world.server.sh(&format!("cd {}; {WORDS}{script}", world.path("")));
}

const WORDS: &str = "
    root() {
        openssl ecparam -name prime256v1 -genkey -noout -out $1.key
        openssl req -x509 -new -key $1.key -days 2 -subj /CN=$1 -out $1.pem
    }
    request() {
        openssl ecparam -name prime256v1 -genkey -noout -out $1.key
        openssl req -new -key $1.key -subj /CN=${2:-$1} -out $1.csr
    }
    sign() {
        echo $4 >$1.ext
        openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -CAcreateserial -days $3 -extfile $1.ext \\
            -out ${5:-$1}.pem
    }
";
