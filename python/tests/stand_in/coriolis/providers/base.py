import abc


class BaseProvider(abc.ABC):
    @property
    def platform(self):
        raise NotImplementedError("Missing provider platform attribute.")


class BaseEndpointProvider(BaseProvider):
    @abc.abstractmethod
    def validate_connection(self, ctxt, connection_info):
        pass

    @abc.abstractmethod
    def get_connection_info_schema(self):
        pass


class BaseEndpointInstancesProvider(BaseEndpointProvider):
    @abc.abstractmethod
    def get_instances(
        self,
        ctxt,
        connection_info,
        source_environment,
        limit=None,
        last_seen_id=None,
        instance_name_pattern=None,
        refresh=False,
    ):
        pass

    @abc.abstractmethod
    def get_instance(self, ctxt, connection_info, source_environment, instance_name):
        pass


class BaseExportInstanceProvider(BaseProvider):
    @abc.abstractmethod
    def get_source_environment_schema(self):
        pass


class BaseReplicaExportProvider(BaseExportInstanceProvider):
    @abc.abstractmethod
    def get_replica_instance_info(self, ctxt, connection_info, source_environment, instance_name):
        pass

    @abc.abstractmethod
    def deploy_replica_source_resources(
        self, ctxt, connection_info, export_info, source_environment
    ):
        pass

    @abc.abstractmethod
    def delete_replica_source_resources(
        self, ctxt, connection_info, source_environment, migr_resources_dict
    ):
        pass

    @abc.abstractmethod
    def replicate_disks(
        self,
        ctxt,
        connection_info,
        source_environment,
        instance_name,
        source_resources,
        source_conn_info,
        target_conn_info,
        volumes_info,
        incremental,
    ):
        pass

    @abc.abstractmethod
    def delete_replica_source_snapshots(
        self, ctxt, connection_info, source_environment, volumes_info
    ):
        pass

    @abc.abstractmethod
    def shutdown_instance(self, ctxt, connection_info, source_environment, instance_name):
        pass


class BaseReplicaExportValidationProvider(BaseProvider):
    @abc.abstractmethod
    def validate_replica_export_input(
        self, ctxt, connection_info, instance_name, source_environment
    ):
        pass
