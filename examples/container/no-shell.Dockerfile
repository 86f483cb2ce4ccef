# The same without a shell, or anything else: the interpreter is started directly, and not by `bootstrap`.
ARG FAIRLEAD=fairlead:${TARGETARCH:-amd64}

FROM ${FAIRLEAD} AS fairlead

FROM scratch
COPY --from=fairlead /opt/ /opt/
COPY server.py /var/task/
WORKDIR /var/task
ENTRYPOINT ["/opt/fairlead/bin/python3", "-ISBXutf8", "-c", "from fairlead.main import main; main()", "/opt/bootstrap"]
CMD ["/opt/fairlead/bin/python3", "server.py"]
