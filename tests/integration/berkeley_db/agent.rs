//! The agent's tables, end to end: libdb's file, Python's pickle, our records.

use std::path::{Path, PathBuf};

use coriolis_ovm_exporter::operations::demo::agent_databases;
use coriolis_ovm_exporter::ovm::agent::{AgentDatabases, AgentRepository};
use coriolis_ovm_exporter::ovm::pickle::Value;

use super::libdb;

fn repository(number: usize) -> AgentRepository {
    let id = format!("0004fb00000300{number:018x}");
    AgentRepository {
        alias: Some(format!("repository \"{number}\" of Jürgen's \\ 'pool'\n")),
        mount_point: Some(PathBuf::from(format!("/OVS/Repositories/{id}"))),
        manager_uuid: Some("0004fb00000100001234".into()),
        version: Some("3.0".into()),
        filesystem: Some("ocfs2".into()),
        fs_location: Some(format!("/dev/{number}").repeat(1 + number * number * 10)),
        id,
    }
}

#[test]
fn what_the_demo_writes_is_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("not/yet/there");
    let mut repositories: Vec<_> = (0..12).map(repository).collect();
    repositories[3].fs_location = None;
    let settings = [
        ("manager_ip", "192.0.2.1"),
        ("pool_alias", "Pool 'é'"),
        ("is_master", "True"),
    ];
    agent_databases::write(&dir, &repositories, &settings).unwrap();
    let agent = AgentDatabases::new(&dir);
    assert_eq!(
        agent.repositories().unwrap(),
        (repositories.clone(), vec![])
    );
    let server = agent.server_settings().unwrap();
    assert_eq!(server.manager_ip.as_deref(), Some("192.0.2.1"));
    assert_eq!(server.pool_alias.as_deref(), Some("Pool 'é'"));
    assert_eq!(server.is_master.as_deref(), Some("True"));
    assert_eq!((server.cluster_state, server.warnings), (None, vec![]));

    // Written again it is replaced, not added to.
    agent_databases::write(&dir, &repositories[..2], &[]).unwrap();
    assert_eq!(agent.repositories().unwrap().0, repositories[..2]);
    assert_eq!(agent.server_settings().unwrap().manager_ip, None);
}

/// Writes a table as the agent does: Python's pickles through libdb. The program fills `t`.
fn python_table(path: &Path, fill: &str) {
    libdb::python(
        &format!(
            "t = {{}}\n{fill}\n\
             d = db.DB(); d.open(sys.argv[1], None, db.DB_HASH, db.DB_CREATE)\n\
             for key, value in t.items(): d.put(key, value)\n\
             d.close()"
        ),
        &[path.to_str().unwrap()],
    );
}

#[test]
fn one_bad_record_does_not_hide_the_others() {
    let dir = tempfile::tempdir().unwrap();
    python_table(
        &dir.path().join("repository"),
        "for p in (0, 1, 2):\n\
         \x20   t[b'good%d' % p] = pickle.dumps({'alias': 'p%d' % p, 'mount_point': '/m', 'version': 3,\n\
         \x20       'filesystem': None, 'other': [1, {'x': (2, 3)}], 'fs_location': ''}, p)\n\
         t[b'torn'] = t[b'good2'][:-9]\n\
         t[b'code'] = pickle.dumps(print, 2)\n\
         t[b'list'] = pickle.dumps([1, 2], 1)\n\
         t[b'none'] = b''\n\
         t[b'odd'] = pickle.dumps({'alias': ['a'], 'mount_point': '/odd'}, 2)\n\
         t[b'unmounted'] = pickle.dumps({'alias': 'u'}, 2)",
    );
    let (repositories, warnings) = AgentDatabases::new(dir.path()).repositories().unwrap();
    let ids: Vec<&str> = repositories.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(ids, ["good0", "good1", "good2", "odd", "unmounted"]);
    for (number, good) in repositories[..3].iter().enumerate() {
        assert_eq!(good.alias, Some(format!("p{number}")));
        assert_eq!(good.mount_point, Some("/m".into()));
        assert_eq!(good.version.as_deref(), Some("3"));
        assert_eq!((&good.filesystem, &good.fs_location), (&None, &None));
    }
    assert_eq!(repositories[3].mount_point, Some("/odd".into()));
    assert_eq!(warnings.len(), 6, "{warnings:#?}");
    for bad in ["torn", "code", "list", "none", "odd", "unmounted"] {
        let naming = warnings
            .iter()
            .filter(|warning| warning.contains(&format!("{bad:?}")));
        assert_eq!(naming.count(), 1, "{bad}: {warnings:#?}");
    }
}

#[test]
fn settings_of_any_type() {
    let dir = tempfile::tempdir().unwrap();
    python_table(
        &dir.path().join("server"),
        "t[b'manager_ip'] = pickle.dumps('192.0.2.7', 0)\n\
         t[b'manager_uuid'] = pickle.dumps(None, 1)\n\
         t[b'registered_ip'] = pickle.dumps({'a': 1}, 2)\n\
         t[b'pool_alias'] = pickle.dumps(7, 2)\n\
         t[b'cluster_state'] = b'torn'\n\
         t[b'is_master'] = pickle.dumps(True, 0)\n\
         t[b'unknown'] = b'not looked at'",
    );
    let server = AgentDatabases::new(dir.path()).server_settings().unwrap();
    assert_eq!(server.manager_ip.as_deref(), Some("192.0.2.7"));
    assert_eq!(server.manager_uuid, None);
    assert_eq!(server.registered_ip, None);
    assert_eq!(server.pool_alias.as_deref(), Some("7"));
    assert_eq!(server.cluster_state, None);
    assert_eq!(server.is_master.as_deref(), Some("true"));
    assert_eq!(server.warnings.len(), 2, "{:#?}", server.warnings);
    assert!(server.warnings[0].contains("registered_ip"));
    assert!(server.warnings[1].contains("cluster_state"));
}

#[test]
fn pythons_own_pickles() {
    let printed = libdb::python(
        "for value in ({'a': 'text', 'b': 7, 'c': None, 'd': True, 'e': 1.5, 'f': 'é€😀'},\n\
         \x20             ['same', 'same', ('x', -1, 1 << 40, -(1 << 90))], 'x' * 300, ''):\n\
         \x20   print(*(pickle.dumps(value, p).hex() for p in (0, 1, 2)))",
        &[],
    );
    let values: Vec<Value> = printed
        .lines()
        .map(|line| {
            let values: Vec<Value> = line
                .split(' ')
                .map(|hex| Value::decode(&libdb::unhex(hex)).unwrap())
                .collect();
            assert!(
                values.iter().all(|value| *value == values[0]),
                "protocols differ: {values:?}"
            );
            values[0].clone()
        })
        .collect();
    let text = |text: &str| Value::Text(text.to_owned());
    assert_eq!(values[0].get("f"), Some(&text("é€😀")));
    assert_eq!(values[0].get("b"), Some(&Value::Int(7)));
    assert_eq!(values[0].get("c"), Some(&Value::None));
    assert_eq!(values[0].get("d"), Some(&Value::Bool(true)));
    assert_eq!(values[0].get("e"), Some(&Value::Float(1.5)));
    let tuple = Value::Tuple(vec![
        text("x"),
        Value::Int(-1),
        Value::Int(1 << 40),
        Value::Int(-(1 << 90)),
    ]);
    assert_eq!(
        values[1],
        Value::List(vec![text("same"), text("same"), tuple])
    );
    assert_eq!(values[2..], [text(&"x".repeat(300)), text("")]);
}

#[test]
fn a_missing_table_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let agent = AgentDatabases::new(dir.path());
    for (error, file) in [
        (agent.repositories().unwrap_err(), "repository"),
        (agent.server_settings().unwrap_err(), "server"),
    ] {
        let path = dir.path().join(file);
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }
}
