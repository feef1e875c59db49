# A bill of materials, SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3/): from lists of crates, packages and checksums.

def lines: split("\n") | map(select(. != ""));
def id: gsub("[^A-Za-z0-9.-]"; "-");
def nothing: "NOASSERTION";

# Debian's short names of licences that SPDX has other names for; the others are named as they stand in licences/.
def spdx:
    ascii_downcase as $name
    | {"gpl-1": "GPL-1.0-only", "gpl-1+": "GPL-1.0-or-later", "gpl-2": "GPL-2.0-only", "gpl-2+": "GPL-2.0-or-later",
       "gpl-3": "GPL-3.0-only", "gpl-3+": "GPL-3.0-or-later", "lgpl-2": "LGPL-2.0-only", "lgpl-2+": "LGPL-2.0-or-later",
       "lgpl-2.1": "LGPL-2.1-only", "lgpl-2.1+": "LGPL-2.1-or-later", "expat": "MIT", "mit": "MIT", "isc": "ISC",
       "bsd-2-clause": "BSD-2-Clause", "bsd-3-clause": "BSD-3-Clause", "mpl-2.0": "MPL-2.0", "cc0-1.0": "CC0-1.0",
       "apache-2.0": "Apache-2.0", "zlib": "Zlib"}[$name] // "LicenseRef-Debian-" + id;
def short_names: split(";") | map(splits(",? +(and/or|and|or) +| +with ") | select(. != "")) | unique;

($lock | split("[[package]]") | map(
    select(contains("checksum = "))
    | {key: (capture("name = \"(?<name>[^\"]+)\"\nversion = \"(?<version>[^\"]+)\"") | "\(.name) \(.version)"),
       value: capture("checksum = \"(?<sum>[0-9a-f]+)\"").sum}) | from_entries) as $sums
| ($sha1 | lines | map(split("  ") | {key: .[1], value: .[0]}) | from_entries) as $sha1s
| ($crates | lines | map(
    capture("^(?<name>\\S+) v(?<version>\\S+)(?<ours> \\(/.*\\))?[^|]*\\|(?<licence>.*)$")
    | $sums["\(.name) \(.version)"] as $sum
    | {name, SPDXID: "SPDXRef-crate-\(.name | id)-\(.version | id)", versionInfo: .version,
       supplier: (if .ours then "Organization: Drydock" else nothing end), downloadLocation: nothing, filesAnalyzed: false,
       licenseConcluded: nothing, licenseDeclared: (if .licence == "" then nothing else .licence | gsub("/"; " OR ") end),
       copyrightText: nothing, primaryPackagePurpose: "LIBRARY"}
    + (if $sum then {checksums: [{algorithm: "SHA256", checksumValue: $sum}], externalRefs: [
        {referenceCategory: "PACKAGE-MANAGER", referenceType: "purl", referenceLocator: "pkg:cargo/\(.name)@\(.version)"}]}
       else {} end))) as $linked
| ($packages | lines | map(split("|"))) as $debian
| ($debian | map({
    name: .[0], SPDXID: "SPDXRef-debian-\(.[0] | id)", versionInfo: .[1], supplier: "Organization: Debian",
    downloadLocation: nothing, filesAnalyzed: false, sourceInfo: "of Debian's source package \(.[2])", licenseConcluded: nothing,
    licenseDeclared: (.[3] | short_names | if . == [] then nothing else map(spdx) | unique | join(" AND ") end),
    licenseComments: "All that licences/\(.[0]) names, alternatives too.", copyrightText: nothing,
    externalRefs: [{referenceCategory: "PACKAGE-MANAGER", referenceType: "purl",
        referenceLocator: "pkg:deb/debian/\(.[0])@\(.[1] | @uri)?distro=trixie"}]})) as $taken
| ($sha256 | lines | map(split("  ") | {
    fileName: "./\(.[1] | ltrimstr("dist/"))", SPDXID: "SPDXRef-file-\(.[1] | ltrimstr("dist/") | id)",
    checksums: [{algorithm: "SHA1", checksumValue: $sha1s[.[1]]}, {algorithm: "SHA256", checksumValue: .[0]}],
    licenseConcluded: nothing, copyrightText: nothing})) as $files
| {name: "rust-std", SPDXID: "SPDXRef-rust-std", versionInfo: $rust, supplier: "Organization: The Rust Project",
   downloadLocation: nothing, filesAnalyzed: false, licenseConcluded: nothing, licenseDeclared: "MIT OR Apache-2.0",
   copyrightText: nothing, comment: "With the C library that rustc's target \($target) brings."} as $std
| def is($from; $kind; $to): {spdxElementId: $from, relationshipType: $kind, relatedSpdxElement: $to};
($linked | map(select(.name == $crate))[0].SPDXID) as $program
| {
    spdxVersion: "SPDX-2.3", dataLicense: "CC0-1.0", SPDXID: "SPDXRef-DOCUMENT", name: $name,
    documentNamespace: "https://github.com/evoteum/drydock/spdx/\($name)-NAMESPACE",
    creationInfo: {created: $created, creators: ["Organization: Drydock", "Tool: image-bill"]},
    documentDescribes: ["SPDXRef-image"],
    packages: ([{name: $name, SPDXID: "SPDXRef-image", versionInfo: ($linked | map(select(.name == $crate))[0].versionInfo),
        supplier: "Organization: Drydock", downloadLocation: nothing, filesAnalyzed: true,
        packageVerificationCode: {packageVerificationCodeValue: $verification}, licenseConcluded: nothing,
        licenseDeclared: nothing, licenseInfoFromFiles: [nothing], copyrightText: nothing}, $std] + $linked + $taken),
    files: $files,
    relationships: ([is("SPDXRef-DOCUMENT"; "DESCRIBES"; "SPDXRef-image"), is("SPDXRef-image"; "CONTAINS"; $program),
            is($program; "STATIC_LINK"; "SPDXRef-rust-std")]
        + ($files | map(is("SPDXRef-image"; "CONTAINS"; .SPDXID)))
        + ($taken | map(is("SPDXRef-image"; "CONTAINS"; .SPDXID)))
        + ($linked | map(select(.SPDXID != $program) | is($program; "STATIC_LINK"; .SPDXID)))),
    hasExtractedLicensingInfos: ($debian | map(.[0] as $package | .[3] | short_names | map({name: ., id: spdx, package: $package}))
        | add // [] | map(select(.id | startswith("LicenseRef-"))) | group_by(.id) | map({
            licenseId: .[0].id, name: .[0].name,
            extractedText: "The text stands under \"License: \(.[0].name)\" in \(map("licences/" + .package) | unique | join(", "))."}))
  } | tojson
