use protocol::install::Step;

use super::*;

pub(crate) use super::key::tests::KEY;

const ONE: Instance<'static> = Instance { machine: "4q5hmp2", ordered: 1_700_000_000_123 };

#[expect(clippy::unnecessary_wraps, reason = "every field of a seed may be absent")]
fn secret(text: &str) -> Option<Secret> {
    Some(Secret(text.to_owned()))
}

fn seed(user_data: &str) -> Seed {
    Seed { user_data: secret(user_data), ..Seed::default() }
}

/// The files of a step, one after the other.
fn files(step: Step) -> String {
    let parts = match step {
        Step::Seed { meta_data, user_data, network_config, vendor_data } => [
            ("meta-data", Some(meta_data)),
            ("user-data", Some(user_data)),
            ("network-config", network_config),
            ("vendor-data", vendor_data),
        ],
        Step::ConfigDrive { meta_data, user_data, network_data, vendor_data } => [
            ("meta_data.json", Some(meta_data)),
            ("user_data", user_data),
            ("network_data.json", network_data),
            ("vendor_data.json", vendor_data),
        ],
        other => panic!("{other:?}"),
    };
    let shown = |(name, text): (&str, Option<Secret>)| Some(format!("--- {name}\n{}", text?.0));
    parts.into_iter().filter_map(shown).collect()
}

fn rendered(seed: &Seed) -> String {
    files(seed.render(ONE).unwrap().unwrap())
}

#[test]
fn a_name_and_a_key_are_enough() {
    let seed = Seed {
        hostname: Some("db1.example.org".to_owned()),
        ssh_keys: vec![KEY.to_owned()],
        ..Seed::default()
    };
    insta::assert_snapshot!(rendered(&seed), @r###"
    --- meta-data
    "instance-id": "4q5hmp2-1700000000"
    "local-hostname": "db1.example.org"
    "public-keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f somebody@example"]
    --- user-data
    #cloud-config
    {}
    "###);
    let drive = Seed { format: Format::ConfigDrive, ..seed };
    insta::assert_snapshot!(rendered(&drive), @r###"
    --- meta_data.json
    {
      "hostname": "db1.example.org",
      "name": "db1.example.org",
      "public_keys": {
        "key-0": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f somebody@example"
      },
      "uuid": "4q5hmp2-1700000000"
    }
    "###);
}

#[test]
fn what_people_wrote_stays_as_written_and_what_is_missing_is_added() {
    let whole = "instance-id: mine\nlocal-hostname: a\n# as I like it\n";
    let kept = Seed { meta_data: secret(whole), ..seed("#!/bin/sh\ntrue\n") };
    insta::assert_snapshot!(rendered(&kept), @r"
    --- meta-data
    instance-id: mine
    local-hostname: a
    # as I like it
    --- user-data
    #!/bin/sh
    true
    ");
    let partly = Seed { meta_data: secret("rack: 7\n"), ..Seed::default() };
    insta::assert_snapshot!(rendered(&partly), @r###"
    --- meta-data
    "instance-id": "4q5hmp2-1700000000"
    "local-hostname": "4q5hmp2"
    "rack": 7
    --- user-data
    #cloud-config
    {}
    "###);
}

#[test]
fn talos_finds_its_configuration_where_cloud_init_has_user_data() {
    let text = "version: v1alpha1\nmachine:\n  type: worker\n---\napiVersion: v1alpha1\nkind: HostnameConfig\n";
    let talos = Seed { format: Format::Talos, ..seed(text) };
    let shown = rendered(&talos);
    assert!(shown.ends_with(&format!("--- user-data\n{text}")), "{shown}");
    assert!(shown.contains("\"hostname\": \"4q5hmp2\""), "{shown}");
    let with_key = Seed { ssh_keys: vec![KEY.to_owned()], ..talos };
    assert_eq!(with_key.check().unwrap_err().part, Part::SshKey(0));
    for wrong in ["", "cluster: {}\n", "#cloud-config\n{}\n", "version: v1alpha1\n"] {
        let seed = Seed { format: Format::Talos, ..seed(wrong) };
        assert_eq!(seed.check().unwrap_err().part, Part::UserData, "{wrong}");
    }
}

#[test]
fn user_data_of_every_kind_that_cloud_init_knows_is_taken() {
    for text in [
        "#cloud-config\npackages: [vim]\nwrite_files:\n- {path: /a, content: !!binary aGVsbG8=}\n",
        "#cloud-config\n",
        "#cloud-config\na: &x {b: 1}\nc:\n  <<: *x\n",
        "#cloud-config \nruncmd:\n- [sh, -c, 'echo é']\r\n",
        "#!/bin/sh\necho {{{\n",
        "#include\nhttps://example.org/a\n",
        "#cloud-boothook\n#!/bin/sh\n",
        "## template: jinja\n#cloud-config\n{% if x %}\na: {{ v }}\n{% endif %}\n",
        "Content-Type: multipart/mixed; boundary=\"a\"\nMIME-Version: 1.0\n\n--a--\n",
        "#cloud-config-archive\n- {type: text/cloud-config, content: 'a: 1'}\n",
    ] {
        assert_eq!(seed(text).check(), Ok(()), "{text}");
    }
}

#[test]
fn user_data_that_cloud_init_would_pass_over_is_refused_with_its_line() {
    let check = |text: &str| {
        let error = seed(text).check().unwrap_err();
        assert_eq!(error.part, Part::UserData, "{text}");
        error.line
    };
    assert_eq!(check(""), Some(1));
    assert_eq!(check("packages: [vim]\n"), Some(1));
    assert_eq!(check("# cloud-config\n{}\n"), Some(1));
    assert_eq!(check("#cloud-configs\n{}\n"), Some(1));
    assert_eq!(check("\u{feff}#cloud-config\n{}\n"), Some(1));
    assert_eq!(check("## template: jinja\nhostname: a\n"), Some(2));
    assert!(check("#cloud-config\na: 1\nb: [1,\nc: 2\n").is_some_and(|line| line >= 3));
    assert!(check("#cloud-config\n- a\n").is_some());
    assert!(check("#cloud-config\na: 1\n\tb: 2\n").is_some());
}

#[test]
fn a_problem_never_repeats_what_stands_in_the_text() {
    for text in [
        "#cloud-config\npassword: hunter2\npassword: hunter2\n",
        "#cloud-config\n- hunter2\n",
        "#cloud-config\nhunter2\n",
        "#cloud-config\na: *hunter2\n",
        "#cloud-config\na: [hunter2\n",
        "#cloud-config\na: \"hunter2\n",
        "hunter2",
    ] {
        let error = seed(text).check().unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
    let drive = |meta: &str| Seed {
        format: Format::ConfigDrive,
        meta_data: secret(meta),
        ..Seed::default()
    };
    for text in ["\"hunter2\"", "{\"a\": hunter2}", "[\"hunter2\"]"] {
        let error = drive(text).check().unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn only_hosts_names_are_taken() {
    let check = |name: &str| Seed { hostname: Some(name.to_owned()), ..Seed::default() }.check();
    for name in ["a", "db1", "db-1.example.org", "1a.2b", &"a".repeat(63)] {
        assert_eq!(check(name), Ok(()), "{name}");
    }
    for name in ["", "-a", "a-", "a..b", "a b", "a_b", "é", "1.2", "10", &"a".repeat(64), "a\nb: c"]
    {
        assert_eq!(check(name).unwrap_err().part, Part::Hostname, "{name}");
    }
}

#[test]
fn nothing_is_said_twice_and_nothing_is_too_long() {
    let meta_data = secret("local-hostname: a\n");
    let twice = Seed { hostname: Some("b".to_owned()), meta_data, ..Seed::default() };
    assert_eq!(twice.check().unwrap_err().part, Part::MetaData);
    let meta_data = secret("public-keys: []\n");
    let twice = Seed { ssh_keys: vec![KEY.to_owned()], meta_data, ..Seed::default() };
    assert_eq!(twice.check().unwrap_err().part, Part::MetaData);
    let long = seed(&format!("#!{}", "x".repeat(TEXT_BYTES)));
    assert_eq!(long.check().unwrap_err().problem, "more than 262144 bytes");
    let many = Seed { ssh_keys: vec![KEY.to_owned(); KEYS + 1], ..Seed::default() };
    assert!(many.check().is_err());
    assert_eq!(Seed::default().render(ONE), Ok(None));
}

#[test]
fn networks_are_taken_in_the_words_of_their_form() {
    let check = |format, text: &str| {
        Seed { format, network_config: secret(text), ..Seed::default() }.check()
    };
    for text in
        ["version: 2\nethernets: {}\n", "network:\n  version: 1\n", "network: {config: disabled}"]
    {
        assert_eq!(check(Format::NoCloud, text), Ok(()), "{text}");
        assert!(check(Format::ConfigDrive, text).is_err(), "{text}");
    }
    let drive = r#"{"links": [], "networks": [], "services": []}"#;
    assert_eq!(check(Format::ConfigDrive, drive), Ok(()));
    assert!(check(Format::NoCloud, drive).is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(#cloud-config\n)?(.|\n){0,200}") {
        drop(seed(&text).render(ONE));
        let all = [Format::NoCloud, Format::ConfigDrive, Format::Talos];
        for format in all {
            let all = Seed { format, meta_data: secret(&text), network_config: secret(&text), ..seed(&text) };
            drop(all.render(ONE));
        }
    }
}
